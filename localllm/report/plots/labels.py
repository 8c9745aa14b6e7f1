"""Writes the name of each point beside it, where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from localllm.report.plain_text import shortened
from localllm.report.plots.content import Plot, vertical_errors
from localllm.report.plots.label_places import Box, place_labels
from localllm.report.plots.palette import Palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def label_points(figure: Figure, found: Sequence[Plot], palette: Palette) -> None:
    """Write the levels beside their points, once everything else has its place."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, plot in zip(figure.axes, found, strict=True):
        _label(axes, plot, palette)


def _label(axes: Axes, plot: Plot, palette: Palette) -> None:
    from matplotlib.patheffects import withStroke

    to_pixels = axes.transData.transform
    pixels = [(float(x), float(y)) for x, y in (to_pixels((p.x.value, p.y.value)) for p in plot.points)]
    texts = [
        axes.text(
            0,
            0,
            shortened(point.label),
            fontsize=8.5,
            color=palette.ink,
            zorder=4,
            horizontalalignment="center",
            verticalalignment="center",
            transform=None,
        )
        for point in plot.points
    ]
    if palette.has_halos:
        for text in texts:
            text.set_path_effects([withStroke(linewidth=2, foreground=palette.paper)])
    sizes = [(box.width, box.height) for box in (text.get_window_extent() for text in texts)]
    box = axes.get_window_extent()
    obstacles = [*_marks(plot, pixels, to_pixels)]
    for note in axes.texts[: -len(texts)]:  # what is written in the plot already
        covered = note.get_window_extent()
        obstacles.append((covered.x0, covered.y0, covered.x1, covered.y1))
    if plot.reference:
        x = float(to_pixels((plot.reference.x.value, plot.points[0].y.value))[0])
        obstacles.append((x - 2, box.y0, x + 2, box.y1))
    if plot.limit is not None:
        y = float(to_pixels((plot.points[0].x.value, plot.limit))[1])
        obstacles.append((box.x0, y - 0.5, box.x1, y + 0.5))
    places = place_labels(pixels, sizes, obstacles, (box.x0, box.y0, box.x1, box.y1))
    back = axes.transData.inverted().transform
    for text, place, point in zip(texts, places, pixels, strict=True):
        text.set_transform(axes.transData)
        text.set_horizontalalignment(_side(place.box, point))
        edge = {"left": place.box[0], "right": place.box[2]}.get(_side(place.box, point), place.centre[0])
        text.set_position(tuple(back((edge, place.centre[1]))))
        if place.is_far:
            begin, end = back(point), back(_nearest_edge(place.box, point))
            axes.plot([begin[0], end[0]], [begin[1], end[1]], color=palette.faint, linewidth=0.7, zorder=2)


def _marks(plot: Plot, pixels: Sequence[tuple[float, float]], to_pixels: Any) -> list[Box]:
    """Return the boxes of all points and error bars in pixels."""
    boxes = []
    for point, (x, y) in zip(plot.points, pixels, strict=True):
        boxes.append((x - 5, y - 5, x + 5, y + 5))
        (down,), (up,) = vertical_errors([point], plot.y)
        bottom = float(to_pixels((point.x.value, point.y.value - down))[1])
        top = float(to_pixels((point.x.value, point.y.value + up))[1])
        boxes.append((x - 2, bottom, x + 2, top))
        left = float(to_pixels((point.x.value - point.x.stderr, point.y.value))[0])
        right = float(to_pixels((point.x.value + point.x.stderr, point.y.value))[0])
        boxes.append((left, y - 2, right, y + 2))
    return boxes


def _side(box: Box, point: tuple[float, float]) -> Literal["left", "center", "right"]:
    """Return which end of a label its point is at: that end stays, whatever font a browser has."""
    if box[0] > point[0]:
        return "left"
    return "right" if box[2] < point[0] else "center"


def _nearest_edge(box: Box, point: tuple[float, float]) -> tuple[float, float]:
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])
