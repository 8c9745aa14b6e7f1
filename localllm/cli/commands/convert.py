"""`localllm convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localllm.cli.findings import show_examination
from localllm.cli.options import (
    AdapterOpt,
    BaseOpt,
    JsonOpt,
    KeepMtpOpt,
    MergeIntoOpt,
    OutputOpt,
    PreOpt,
    QuietOpt,
    ScaleOpt,
    SplitOpt,
)
from localllm.cli.output import Output
from localllm.conversion.out_type import OutType
from localllm.merge_target import MergeTarget


def convert(
    path: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A checkpoint or adapter directory.", show_default=False),
    ],
    adapter: AdapterOpt = None,
    base: BaseOpt = None,
    scale: ScaleOpt = 1.0,
    merge_into: MergeIntoOpt = MergeTarget.AUTO,
    output: OutputOpt = None,
    outtype: Annotated[
        OutType, typer.Option(help="Type of the weight matrices; auto keeps the checkpoint's 16-bit type.")
    ] = OutType.AUTO,
    name: Annotated[
        str | None, typer.Option(help="The model's name in the file.", show_default="from the model card")
    ] = None,
    pre: PreOpt = None,
    keep_mtp: KeepMtpOpt = False,
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON with keys such as general.author, to replace the model card's.",
            show_default=False,
        ),
    ] = None,
    split_max_size: SplitOpt = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only look for what is wrong, with the fix; writes nothing.")
    ] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> int:
    """Convert a checkpoint or a LoRA adapter to a GGUF file.

    A checkpoint is a Hugging Face directory with config.json and safetensors weights. An adapter
    becomes a GGUF adapter, to be used beside its base; `--adapter` merges it instead. Without
    `--output` the file goes into the library as NAME/NAME-TYPE.gguf.
    """
    out = Output("convert", as_json=json, quiet=quiet)
    from localllm.units import format_bytes, format_count
    from localllm.verbs import convert as verbs

    if check:
        examination = verbs.check(
            path,
            adapters=adapter or (),
            base=base,
            scale=scale,
            merge_into=merge_into,
            out_type=outtype,
            name=name,
            metadata=metadata,
            pre=pre,
            keep_mtp=keep_mtp,
            emit=out.emit,
        )
        return show_examination(out, examination)
    result = verbs.convert(
        path,
        adapters=adapter or (),
        base=base,
        scale=scale,
        merge_into=merge_into,
        output=output,
        out_type=outtype,
        name=name,
        metadata=metadata,
        pre=pre,
        keep_mtp=keep_mtp,
        split_max_bytes=split_max_size,
        emit=out.emit,
    )
    out.data(result)
    out.status(
        f"converted {path} ({result.architecture}, {format_count(result.parameters)} parameters) "
        f"to {result.level}, {format_bytes(result.size_bytes)}"
        + (f" in {result.files} files" if result.files > 1 else "")
    )
    out.text(str(result.path))
    return 0
