"""The plots: size against quality and speed against quality, with error bars, as PNG and as SVG.

The same comparison gives the same bytes: no date, no random ids.
"""

from __future__ import annotations

import io

from localllm.comparison.measurement import ComparisonResult
from localllm.report.plain_text import shortened
from localllm.report.plots.content import Plot, plots
from localllm.report.plots.drawing import DPI, LONGEST_TITLE, draw, drawing, new_figure
from localllm.report.plots.labels import label_points
from localllm.report.plots.palette import PAGE, PRINT
from localllm.report.plots.svg import embedded
from localllm.report.words import clock

__all__ = ["Plot", "plots", "to_png", "to_svg"]

_PNG_DPI = 200


def to_png(result: ComparisonResult) -> bytes | None:
    """Return the plots side by side as a PNG image; None when there are none."""
    found = plots(result)
    if not found:
        return None
    with drawing():
        figure = new_figure(7.2 * len(found), 5.4)
        for index, plot in enumerate(found):
            draw(figure, figure.add_subplot(1, len(found), index + 1), plot, PRINT)
        figure.suptitle(
            f"{shortened(result.model, LONGEST_TITLE)}, {clock(result.started)[:10]}",
            fontsize=12,
            color=PRINT.ink,
        )
        label_points(figure, found, PRINT)
        output = io.BytesIO()
        figure.savefig(output, format="png", dpi=_PNG_DPI, metadata={"Software": None}, facecolor=PRINT.paper)
    return output.getvalue()


def to_svg(plot: Plot, *, width: int, height: int, prefix: str) -> str:
    """Return a plot as an SVG element of so many pixels, for a page; its ids begin with `prefix`."""
    with drawing():
        figure = new_figure(width / DPI, height / DPI)
        draw(figure, figure.add_subplot(), plot, PAGE)
        label_points(figure, [plot], PAGE)
        output = io.StringIO()
        figure.savefig(
            output,
            format="svg",
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
            transparent=True,
        )
    return embedded(output.getvalue(), plot, width, height, prefix)
