"""Shows what quantizing would write, and what it wrote."""

from __future__ import annotations

from collections.abc import Sequence

from localllm.cli.output import Output
from localllm.quantization.quantize import QuantizationPlan, QuantizationResult
from localllm.quantization.report import PlannedLevel, PlanReport, report
from localllm.units import format_bytes, format_seconds


def show_plan(out: Output, plan: QuantizationPlan) -> None:
    """Print the levels of a plan, then what the machine has and which level it should take."""
    found = report(plan)
    out.data(found)
    headings = ["level", "size", "bits per weight", "nominal", "fallbacks", "memory", "fits"]
    rows = [
        (
            level.level,
            format_bytes(level.size_bytes),
            f"{level.bits_per_weight:.2f}",
            f"{level.nominal_bits_per_weight:.2f}",
            str(level.fallbacks),
            format_bytes(level.memory_bytes),
            _fits(level),
        )
        for level in found.levels
    ]
    out.table(headings, rows, numeric=headings[1:-1])
    out.text("")
    for line in _machine(found):
        out.text(line)


def show_results(out: Output, results: Sequence[QuantizationResult]) -> None:
    """Print the files that are there now."""
    out.data(results)
    rows = [
        (
            result.level,
            format_bytes(result.size_bytes),
            f"{result.bits_per_weight:.2f}",
            "kept" if result.kept else format_seconds(result.seconds),
            str(result.fallbacks),
            str(result.path),
        )
        for result in results
    ]
    headings = ("level", "size", "bits per weight", "time", "fallbacks", "file")
    out.table(headings, rows, numeric=("size", "bits per weight", "time", "fallbacks"))


def _fits(level: PlannedLevel) -> str:
    places = [
        ("disk", level.fits_disk),
        ("memory", level.fits_memory),
        *([("GPU", level.fits_gpu)] if level.fits_gpu is not None else []),
    ]
    fitting = [name for name, fits in places if fits]
    missing = [name for name, fits in places if not fits]
    if not missing:
        return ", ".join(fitting)
    return ", ".join([*fitting, f"not {' nor '.join(missing)}"])


def _machine(found: PlanReport) -> list[str]:
    gpu = "" if found.gpu_free_bytes is None else f", {format_bytes(found.gpu_free_bytes)} on {found.gpu}"
    lines = [
        f"together {format_bytes(found.total_bytes)}; free: {format_bytes(found.disk_free_bytes)} on "
        f"the disk, {format_bytes(found.memory_available_bytes)} of memory{gpu}",
        f"memory is estimated for a context of {found.context} tokens",
    ]
    if found.advised is None:
        lines.append("none of these fits into this machine's memory")
    elif len(found.levels) > 1:
        lines.append(f"advised: {found.advised}, the largest of these that fits this machine")
    return lines
