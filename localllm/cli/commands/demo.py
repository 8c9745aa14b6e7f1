"""`localllm demo`."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localllm.cli.output import Output

if TYPE_CHECKING:
    from localllm.demonstration import Stage

_NEXT = (
    "localllm chat demo                             talk to it",
    "localllm chat demo --session me                a chat that remembers",
    "localllm quantize ./my-finetune -q recommended your own checkpoint, four levels",
    "localllm inspect FILE.gguf                     what is inside any GGUF file",
    "localllm compare my-finetune                   measure its levels side by side",
)


def demo(
    chat: Annotated[bool, typer.Option("--chat", help="End in an interactive chat.")] = False,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the files in this directory.", show_default="they are removed")
    ] = None,
) -> None:
    """Convert, quantize, compare and ask the model that ships with localllm."""
    out = Output("demo")
    from localllm.demonstration import run_demo

    with _workplace(keep) as directory:
        for stage in run_demo(Path(directory), emit=out.emit):
            _show(stage, out)
        out.text("\nNext:")
        for line in _NEXT:
            out.text(f"  {line}")
    if chat:
        from localllm.cli.commands.chat import chat as start_chat

        start_chat("demo")


def _workplace(keep: Path | None) -> AbstractContextManager[str]:
    return nullcontext(str(keep)) if keep else tempfile.TemporaryDirectory(prefix="localllm-demo-")


def _show(stage: Stage, out: Output) -> None:
    from localllm import report
    from localllm.cli.answers import print_answer
    from localllm.comparison import ComparisonResult
    from localllm.conversion.convert import ConversionResult
    from localllm.demonstration import Asked
    from localllm.units import format_bytes, format_count

    if isinstance(stage, ConversionResult):
        size, count = format_bytes(stage.size_bytes), format_count(stage.parameters)
        out.text(f"converted the demo checkpoint ({count} parameters) to {stage.level}, {size}")
    elif isinstance(stage, ComparisonResult):
        out.table(report.HEADINGS, report.table_rows(stage), numeric=report.HEADINGS[1:])
    elif isinstance(stage, Asked):
        out.text(f"\n> {stage.question}")
        print_answer(stage.answer)
    else:
        out.text(f"quantized it to {', '.join(result.level for result in stage)}\n")
