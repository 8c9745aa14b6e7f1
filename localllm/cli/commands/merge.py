"""`localllm merge`."""

from __future__ import annotations

from typing import Annotated

import typer

from localllm.cli.options import JsonOpt, MergeIntoOpt, OutputOpt, QuietOpt, ScaleOpt
from localllm.cli.output import Output
from localllm.merge_target import MergeTarget


def merge(
    base: Annotated[
        str, typer.Argument(metavar="BASE", help="The base model's checkpoint directory.", show_default=False)
    ],
    adapters: Annotated[
        list[str],
        typer.Argument(metavar="ADAPTER...", help="LoRA adapters' directories.", show_default=False),
    ],
    output: OutputOpt = None,
    scale: ScaleOpt = 1.0,
    merge_into: MergeIntoOpt = MergeTarget.AUTO,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Merge LoRA adapters into their base and save a checkpoint.

    Tensor by tensor, in float32, saved in the base's type. Several adapters are merged one after
    another. Without `--output` the directory goes into the library as BASE-ADAPTER.
    """
    out = Output("merge", as_json=json, quiet=quiet)
    from localllm.units import format_bytes, format_count
    from localllm.verbs.merge import merge as merge_adapters

    result = merge_adapters(base, adapters, output=output, scale=scale, merge_into=merge_into, emit=out.emit)
    out.data(result)
    out.status(
        f"merged {result.changed} of {result.tensors} tensors ({format_count(result.parameters)} "
        f"parameters, {format_bytes(result.size_bytes)})"
    )
    out.text(str(result.path))
