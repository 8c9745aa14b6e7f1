"""`localllm quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from localllm.cli.completion import complete_level
from localllm.cli.options import (
    AdapterOpt,
    BaseOpt,
    JsonOpt,
    KeepMtpOpt,
    MaxMemoryOpt,
    MergeIntoOpt,
    ModelArg,
    OutputOpt,
    PlanContextOpt,
    PreOpt,
    QuietOpt,
    ScaleOpt,
    ThreadsOpt,
)
from localllm.cli.output import Output
from localllm.errors import UsageError
from localllm.merge_target import MergeTarget
from localllm.quantization.engine import QuantizationEngine


def quantize(
    model: ModelArg,
    level: Annotated[
        list[str],
        typer.Option(
            "--level",
            "-q",
            metavar="LEVEL",
            help="A level such as Q4_K_M; repeatable, also comma-separated, `recommended` or `all`; `auto` "
            "is what `localllm compare` last advised for the model.",
            show_default=False,
            autocompletion=complete_level,
        ),
    ],
    plan: Annotated[
        bool, typer.Option("--plan", help="Show exact sizes and what fits this machine; write nothing.")
    ] = False,
    adapter: AdapterOpt = None,
    base: BaseOpt = None,
    scale: ScaleOpt = 1.0,
    merge_into: MergeIntoOpt = MergeTarget.AUTO,
    output: OutputOpt = None,
    force: Annotated[
        bool, typer.Option("--force", help="Make files again that are already there and up to date.")
    ] = False,
    imatrix: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|auto",
            help="An importance matrix; `auto` makes one with the model and keeps it beside the output.",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Text to make the matrix of `--imatrix auto` on; repeatable.",
            show_default="a built-in text",
        ),
    ] = None,
    tensor_type: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REGEX=TYPE",
            help="The type of tensors whose name matches, such as `ffn_down=Q6_K`; repeatable.",
            show_default=False,
        ),
    ] = None,
    output_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="The type of the output tensor.", show_default=False)
    ] = None,
    token_embedding_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="The type of the token embedding.", show_default=False)
    ] = None,
    pure: Annotated[
        bool, typer.Option("--pure", help="Give all matrices the level's own type, none a better one.")
    ] = False,
    leave_output: Annotated[
        bool, typer.Option("--leave-output", help="Do not quantize the output tensor.")
    ] = False,
    allow_requantize: Annotated[
        bool, typer.Option("--allow-requantize", help="Also quantize what is quantized already.")
    ] = False,
    keep_split: Annotated[
        bool, typer.Option("--keep-split", help="Write as many files as a split model has.")
    ] = False,
    prune_layers: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYERS", help="Layers to leave out, such as `20,22-24`.", show_default=False),
    ] = None,
    override_kv: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=TYPE:VALUE",
            help="Set metadata; TYPE is int, float, bool or str; repeatable.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        QuantizationEngine,
        typer.Option(
            help="What encodes the weights; `llama.cpp`'s own quantizer makes the same bytes of a GGUF file, "
            "more slowly.",
        ),
    ] = QuantizationEngine.LOCALLLM,
    pre: PreOpt = None,
    keep_mtp: KeepMtpOpt = False,
    context: PlanContextOpt = None,
    threads: ThreadsOpt = None,
    max_memory: MaxMemoryOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Quantize a model at one level or many.

    The source is a checkpoint or an F16, BF16 or F32 GGUF file; a LoRA adapter is merged first. All
    levels are made in one pass over the weights, and no 16-bit file is left behind. Files go into the
    library as NAME/NAME-LEVEL.gguf. `--output` names a file for one level, a directory for several.
    Files that are up to date are kept.
    """
    out = Output("quantize", as_json=json, quiet=quiet)
    from localllm.cli import quantization_view as view
    from localllm.quantization import options as typed
    from localllm.verbs import quantize as verbs

    wishes = typed.QuantizationOptions(
        tensor_types=typed.parse_tensor_types(tensor_type or ()),
        output_type=typed.parse_type(output_type) if output_type else None,
        token_embedding_type=typed.parse_type(token_embedding_type) if token_embedding_type else None,
        pure=pure,
        leave_output=leave_output,
        allow_requantize=allow_requantize,
        keep_split=keep_split,
        prune_layers=typed.parse_layers(prune_layers or ()),
        overrides=typed.parse_overrides(override_kv or ()),
    )
    if context is not None and not plan:
        raise UsageError("`--context` is for `--plan`", hint="add that, or leave it out")
    common: dict[str, Any] = {
        "adapters": adapter or (),
        "base": base,
        "scale": scale,
        "merge_into": merge_into,
        "output": output,
        "pre": pre,
        "keep_mtp": keep_mtp,
        "options": wishes,
        "imatrix": imatrix,
        "calibration": calibration or (),
        "emit": out.emit,
    }
    if plan:
        view.show_plan(out, verbs.plan_quantization(model, level, context=context, **common))
        return
    results = verbs.quantize(
        model, level, threads=threads, max_memory_bytes=max_memory, force=force, engine=engine, **common
    )
    view.show_results(out, results)
