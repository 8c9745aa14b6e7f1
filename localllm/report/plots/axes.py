"""What can be on an axis of a plot: a quantity with its error, how it is written, and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from localllm.comparison.measurement import ComparisonResult, Measurement, Uncertain
from localllm.report.columns import row_labels
from localllm.report.figures import significant, with_error
from localllm.units import format_bytes

_BYTES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
_LOG_FROM = 3  # times the smallest file


@dataclass(frozen=True)
class Axis:
    """A quantity: its value for a file, what a tick says, and what a point says in words."""

    label: str
    better: str
    value: Callable[[Measurement], Uncertain | None]
    tick: Callable[[float], str]
    write: Callable[[Uncertain], str]
    is_log: bool = False


@dataclass(frozen=True)
class Point:
    """A file in a plot; `family` is a number of the plot's families of levels."""

    label: str
    family: int
    x: Uncertain
    y: Uncertain
    is_reference: bool


def size_axis(result: ComparisonResult) -> Axis | None:
    """Return the axis of file sizes in the unit that suits the largest; None where none is known."""
    sizes = [row.size_bytes for row in result.measurements if row.size_bytes]
    if not sizes:
        return None
    scale, unit = next((scale, unit) for scale, unit in _BYTES if max(sizes) >= scale)
    return Axis(
        f"size, {unit}",
        "smaller is better",
        lambda row: None if row.size_bytes is None else Uncertain(row.size_bytes / scale, 0.0),
        "{:g}".format,
        lambda size: format_bytes(size.value * scale),
        is_log=max(sizes) > _LOG_FROM * min(sizes),
    )


def speed_axis(result: ComparisonResult) -> Axis | None:
    """Return the axis of generation speed; None where it was not measured."""
    if not any(row.generation_tokens_per_second for row in result.measurements):
        return None
    return Axis(
        "generation, tokens per second",
        "more is better",
        _generation,
        "{:g}".format,
        lambda speed: f"{with_error(speed)} tokens per second",
    )


def quality_axis(result: ComparisonResult) -> Axis | None:
    """Return the axis of KL divergence, else of perplexity; None where neither was measured."""
    rows = result.measurements
    if any(row.kl_divergence for row in rows if not row.is_reference):
        names = [name for name, row in zip(row_labels(rows), rows, strict=True) if row.is_reference]
        reference = f" from {names[0]}" if names else ""
        return Axis(
            f"KL divergence{reference}",
            "lower is better",
            lambda row: row.kl_divergence,
            _tick,
            lambda quantity: f"KL divergence {with_error(quantity)}",
            is_log=True,
        )
    if any(row.perplexity for row in rows):
        return Axis(
            "perplexity",
            "lower is better",
            lambda row: row.perplexity,
            "{:g}".format,
            lambda quantity: f"perplexity {with_error(quantity)}",
        )
    return None


def _tick(value: float) -> str:
    """Return a number without an exponent and without zeros at its end: 0.0001."""
    text = significant(value, 3)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _generation(row: Measurement) -> Uncertain | None:
    speed = row.generation_tokens_per_second
    return None if speed is None else Uncertain(speed.value, speed.stderr)
