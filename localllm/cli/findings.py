"""What the doctor found, for people: errors first, each with its fix, then whether it can be converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localllm.cli.output import Output
from localllm.units import format_bytes, format_count

if TYPE_CHECKING:
    from localllm.conversion.examination import Examination

_ORDER = ("error", "fixed", "note")


def show_examination(out: Output, examination: Examination) -> int:
    """Print an examination and return the exit status: 1 when the conversion would fail."""
    out.data(examination)
    for severity in _ORDER:
        for finding in examination.findings:
            if finding.severity == severity:
                out.text(f"{severity}: {finding.message}")
                if finding.fix:
                    out.text(f"  fix: {finding.fix}")
    out.text(_conclusion(examination))
    return 1 if examination.errors else 0


def _conclusion(examination: Examination) -> str:
    what = ", ".join(_figures(examination)) or str(examination.path)
    errors = examination.errors
    if errors:
        return f"cannot be converted ({errors} error{'s' if errors > 1 else ''}): {what}"
    return f"can be converted: {what}"


def _figures(examination: Examination) -> list[str]:
    figures = [examination.architecture] if examination.architecture else []
    if examination.parameters is not None:
        figures.append(f"{format_count(examination.parameters)} parameters")
    if examination.tensors is not None:
        figures.append(f"{examination.tensors} tensors")
    if examination.level and examination.size_bytes is not None:
        figures.append(f"{examination.level}, {format_bytes(examination.size_bytes)}")
    return figures
