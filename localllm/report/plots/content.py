"""What is in the plots: which files, on which axes. Nothing is drawn here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from localllm.comparison.measurement import ComparisonResult, Measurement, Uncertain
from localllm.report.columns import row_labels
from localllm.report.plots.axes import Axis, Point, quality_axis, size_axis, speed_axis


@dataclass(frozen=True)
class Plot:
    """One plot: what is on its axes, and the points that have both."""

    name: str
    title: str
    x: Axis
    y: Axis
    points: tuple[Point, ...]
    reference: Point | None
    limit: float | None  # the loss that was called small

    @property
    def description(self) -> str:
        """Return what there is to see, for those who do not see it."""
        said = "; ".join(
            f"{point.label}: {self.x.write(point.x)}, {self.y.write(point.y)}" for point in self.points
        )
        return f"{self.title}. {self.x.label} across, {self.y.label} upwards. {said}."


def plots(result: ComparisonResult) -> list[Plot]:
    """Return the plots that the figures allow: none without quality, one without speed."""
    y = quality_axis(result)
    if y is None:
        return []
    wanted = (
        ("size", "Size against quality", size_axis(result)),
        ("speed", "Speed against quality", speed_axis(result)),
    )
    made = [_plot(result, name, title, x, y) for name, title, x in wanted if x is not None]
    return [plot for plot in made if plot.points]


def vertical_errors(points: Sequence[Point], y: Axis) -> tuple[list[float], list[float]]:
    """Return error bars downwards and upwards; on a logarithmic axis none reaches 0."""
    lower = [min(point.y.stderr, point.y.value * 0.95) if y.is_log else point.y.stderr for point in points]
    return lower, [point.y.stderr for point in points]


def _plot(result: ComparisonResult, name: str, title: str, x: Axis, y: Axis) -> Plot:
    points = [
        Point(label, _family(row.level), of_x, of_y, row.is_reference)
        for label, row in zip(row_labels(result.measurements), result.measurements, strict=True)
        if (of_x := _known(x.value(row))) is not None and (of_y := _quality(row, y)) is not None
    ]
    shown = tuple(point for point in points if not (point.is_reference and y.is_log))
    reference = next((point for point in points if point.is_reference and y.is_log), None)
    limit = result.settings.max_kl_divergence if y.is_log else None
    return Plot(name, title, x, y, shown, reference, limit)


def _quality(row: Measurement, y: Axis) -> Uncertain | None:
    """Return a file's quality; that of the reference is 0 by definition where it was not measured."""
    value = _known(y.value(row))
    if value is None and row.is_reference and row.error is None:
        return Uncertain(0.0, 0.0)
    if value is not None and y.is_log and value.value <= 0 and not row.is_reference:
        return None  # noise around 0 has no place on a logarithmic axis
    return value


def _known(quantity: Uncertain | None) -> Uncertain | None:
    """Return what has a place on an axis; of one repetition the error is not known and not drawn."""
    if quantity is None or not isfinite(quantity.value):
        return None
    return quantity if isfinite(quantity.stderr) else Uncertain(quantity.value, 0.0)


def _family(level: str) -> int:
    """Return the number of a level's family in `palette.FAMILIES`."""
    if re.fullmatch(r"Q\d_K(_[A-Z]+)?", level):
        return 0
    if re.fullmatch(r"Q\d_[01]", level):
        return 1
    return 2 if re.match(r"IQ\d|TQ\d", level) else 3
