"""`localllm imatrix`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localllm.cli.options import JsonOpt, ModelArg, OutputOpt, QuietOpt, ThreadsOpt
from localllm.cli.output import Output


def imatrix(
    model: ModelArg,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--file",
            "-f",
            metavar="TEXT",
            help="A text file to run the model on; repeatable.",
            show_default="a built-in text",
        ),
    ] = None,
    output: OutputOpt = None,
    context: Annotated[
        int, typer.Option("--context", min=16, max=2**31 - 1, help="Tokens in a chunk of text.")
    ] = 512,
    chunks: Annotated[
        int | None,
        typer.Option("--chunks", min=1, help="Chunks to run.", show_default="all of the text"),
    ] = None,
    threads: ThreadsOpt = None,
    process_output: Annotated[
        bool, typer.Option("--process-output", help="Measure the output matrix, too.")
    ] = False,
    parse_special: Annotated[
        bool, typer.Option("--parse-special", help="Read control tokens in the text, such as <|im_end|>.")
    ] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Measure which weights of a model matter most.

    The model, best an F16 or BF16 file, reads a text; the result is an importance matrix (imatrix) for
    `localllm quantize --imatrix`, in llama-imatrix's format. Without `--output` it goes into the library as
    NAME/NAME-imatrix.gguf.
    """
    out = Output("imatrix", as_json=json, quiet=quiet)
    from localllm.verbs import quantize as verbs

    result = verbs.collect_imatrix(
        model,
        file or (),
        output=output,
        context_size=context,
        max_chunks=chunks,
        threads=threads,
        process_output=process_output,
        parse_special=parse_special,
        emit=out.emit,
    )
    out.data(result)
    out.status(
        f"measured {result.entries} tensors on {result.tokens} tokens "
        f"({', '.join(result.datasets)}) in {result.seconds:.0f} s"
    )
    out.text(str(result.path))
