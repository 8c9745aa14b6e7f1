"""`localllm quantize`."""

from __future__ import annotations

from typing import Annotated

import typer

from localllm.cli.options import (
    AdapterOpt,
    BaseOpt,
    JsonOpt,
    MergeIntoOpt,
    ModelArg,
    OutputOpt,
    PreOpt,
    QuietOpt,
    ScaleOpt,
    ThreadsOpt,
)
from localllm.cli.output import Output
from localllm.merge_target import MergeTarget


def quantize(
    model: ModelArg,
    level: Annotated[
        list[str],
        typer.Option(
            "--level",
            "-q",
            metavar="LEVEL",
            help="A level such as Q4_K_M; repeatable, also comma-separated, `recommended` or `all`.",
            show_default=False,
        ),
    ],
    adapter: AdapterOpt = None,
    base: BaseOpt = None,
    scale: ScaleOpt = 1.0,
    merge_into: MergeIntoOpt = MergeTarget.AUTO,
    output: OutputOpt = None,
    pre: PreOpt = None,
    threads: ThreadsOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Quantize a model at one level or many.

    The source is a checkpoint or an F16, BF16 or F32 GGUF file; a LoRA adapter is merged first.
    Files go into the library as NAME/NAME-LEVEL.gguf. `--output` names a file for one level, a
    directory for several.
    """
    out = Output("quantize", as_json=json, quiet=quiet)
    from localllm import verbs
    from localllm.units import format_bytes

    results = verbs.quantize(
        model,
        level,
        adapters=adapter or (),
        base=base,
        scale=scale,
        merge_into=merge_into,
        output=output,
        pre=pre,
        threads=threads,
        emit=out.emit,
    )
    out.data(results)
    rows = [
        (r.level, format_bytes(r.size_bytes), f"{r.bits_per_weight:.2f}", _types(r.types), str(r.path))
        for r in results
    ]
    headings = ("level", "size", "bits per weight", "tensor types", "file")
    out.table(headings, rows, numeric=("size", "bits per weight"))


def _types(types: dict[str, int]) -> str:
    return " ".join(f"{name}:{count}" for name, count in types.items())
