"""`localllm compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localllm.cli.completion import complete_model
from localllm.cli.options import JsonOpt, QuietOpt, ThreadsOpt
from localllm.cli.output import Output


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="GGUF files, or names in the library (then all its levels).",
            show_default=False,
            autocompletion=complete_model,
        ),
    ],
    text: Annotated[
        Path | None,
        typer.Option(
            help="Text to measure perplexity on.", show_default="the model's eval.txt, else the demo's"
        ),
    ] = None,
    threads: ThreadsOpt = None,
    repetitions: Annotated[int, typer.Option(min=1, max=1000, help="Repetitions of each speed test.")] = 3,
    chunks: Annotated[
        int | None,
        typer.Option(min=1, help="Chunks of 512 tokens to evaluate.", show_default="all of the text"),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Measure files of a model side by side.

    Size, bits per weight, load time, speed, memory, perplexity. Every file is measured in a process
    of its own. Speeds are tokens per second as llama-bench measures them (512 tokens read, 128
    generated), with the standard error over the repetitions.
    """
    out = Output("compare", as_json=json, quiet=quiet)
    from localllm import report
    from localllm.verbs.compare import compare as compare_models

    result = compare_models(
        models, text=text, threads=threads, repetitions=repetitions, max_chunks=chunks, emit=out.emit
    )
    out.data(report.to_json(result))
    if csv:
        out.text(report.to_csv(result).rstrip("\n"))
    else:
        out.table(report.HEADINGS, report.table_rows(result), numeric=report.HEADINGS[1:])
    if result.failed:
        raise typer.Exit(1)
