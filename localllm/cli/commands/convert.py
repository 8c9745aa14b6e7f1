"""`localllm convert`."""

from __future__ import annotations

from typing import Annotated

import typer

from localllm.cli.options import AdapterOpt, BaseOpt, JsonOpt, OutputOpt, QuietOpt, ScaleOpt
from localllm.cli.output import Output
from localllm.conversion.out_type import OutType


def convert(
    path: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A checkpoint or adapter directory.", show_default=False),
    ],
    adapter: AdapterOpt = None,
    base: BaseOpt = None,
    scale: ScaleOpt = 1.0,
    output: OutputOpt = None,
    outtype: Annotated[
        OutType, typer.Option(help="Type of the weight matrices; auto keeps the checkpoint's 16-bit type.")
    ] = OutType.AUTO,
    name: Annotated[
        str | None, typer.Option(help="The model's name in the file.", show_default="from the model card")
    ] = None,
    pre: Annotated[
        str | None, typer.Option(help="llama.cpp's name of the pre-tokenizer.", show_default="recognised")
    ] = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Convert a checkpoint or a LoRA adapter to a GGUF file.

    A checkpoint is a Hugging Face directory with config.json and safetensors weights. An adapter
    becomes a GGUF adapter, to be used beside its base; `--adapter` merges it instead. Without
    `--output` the file goes into the library as NAME/NAME-TYPE.gguf.
    """
    out = Output("convert", as_json=json, quiet=quiet)
    from localllm import verbs
    from localllm.units import format_bytes, format_count

    result = verbs.convert(
        path,
        adapters=adapter or (),
        base=base,
        scale=scale,
        output=output,
        out_type=outtype,
        name=name,
        pre=pre,
        emit=out.emit,
    )
    out.data(result)
    out.status(
        f"converted {path} ({result.architecture}, {format_count(result.parameters)} parameters) "
        f"to {result.level}, {format_bytes(result.size_bytes)}"
    )
    out.text(str(result.path))
