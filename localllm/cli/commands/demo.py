"""`localllm demo`."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localllm.cli.options import JsonOpt, QuietOpt
from localllm.cli.output import Output

if TYPE_CHECKING:
    from localllm.demonstration import Stage

_NEXT = (
    "localllm chat demo                             talk to it",
    "localllm chat demo --session me                a chat that remembers",
    "localllm quantize ./my-finetune -q recommended your checkpoint, four levels",
    "localllm inspect FILE.gguf                     what is inside any GGUF file",
    "localllm compare my-finetune -q recommended    measure its levels side by side",
)


def demo(
    chat: Annotated[bool, typer.Option("--chat", help="End in an interactive chat.")] = False,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the files in this directory.", show_default="they are removed")
    ] = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Walk the whole way with the model that ships.

    Converts, quantizes at six levels, compares them and asks two questions.
    """
    out = Output("demo", as_json=json, quiet=quiet)
    from localllm.demonstration import run_demo

    collected: dict[str, Any] = {"answers": []}
    with _workplace(keep) as directory:
        for stage in run_demo(Path(directory), emit=out.emit):
            _show(stage, out, collected)
        out.data(collected)
        out.text("\nNext:")
        for line in _NEXT:
            out.text(f"  {line}")
    if chat:
        from localllm.cli.commands.chat import chat as start_chat

        start_chat("demo")


def _workplace(keep: Path | None) -> AbstractContextManager[str]:
    return nullcontext(str(keep)) if keep else tempfile.TemporaryDirectory(prefix="localllm-demo-")


def _show(stage: Stage, out: Output, collected: dict[str, Any]) -> None:
    """Show a stage as soon as it is there, and keep its data for `--json`."""
    from localllm.cli.compare_view import show_table
    from localllm.comparison.measurement import ComparisonResult
    from localllm.conversion.convert import ConversionResult
    from localllm.demonstration import Asked
    from localllm.report.data import to_json
    from localllm.units import format_bytes, format_count

    if isinstance(stage, ConversionResult):
        collected["conversion"] = stage
        size, count = format_bytes(stage.size_bytes), format_count(stage.parameters)
        out.text(f"converted the demo checkpoint ({count} parameters) to {stage.level}, {size}")
    elif isinstance(stage, ComparisonResult):
        collected["comparison"] = to_json(stage)
        show_table(out, stage)
    elif isinstance(stage, Asked):
        out.text(f"\n> {stage.question}")
        collected["answers"].append({"question": stage.question, **out.answer(stage.answer)})
    else:
        collected["quantization"] = stage
        out.text(f"quantized it to {', '.join(result.level for result in stage)}\n")
