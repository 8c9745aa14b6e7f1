"""Draws plots with matplotlib: without pyplot, so that nothing global changes, and without user settings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from localllm.report.plain_text import shortened
from localllm.report.plots.content import Plot, vertical_errors
from localllm.report.plots.palette import FAMILIES, Palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100  # pixels of the layout per inch
LONGEST_TITLE = 48  # characters
_NARROW_INCHES = 4.5  # a label on an axis takes two lines


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)  # measures text; saving takes the canvas of the format
    return figure


def drawing() -> Any:
    """Return a context of matplotlib's own defaults, whatever the user's settings, and ours."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of fonts it looks for
    from matplotlib import style

    ours = {
        "svg.hashsalt": "localllm",
        "svg.fonttype": "none",
        "font.family": ["DejaVu Sans"],  # comes with matplotlib
        "font.size": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,  # a name may contain dollars
    }
    return style.context(["default", ours], after_reset=True)


def draw(figure: Figure, axes: Axes, plot: Plot, palette: Palette) -> None:
    """Draw everything but the labels of the points."""
    for family, (name, marker) in enumerate(FAMILIES):
        members = [point for point in plot.points if point.family == family]
        if members:
            axes.errorbar(
                [point.x.value for point in members],
                [point.y.value for point in members],
                xerr=[point.x.stderr for point in members] if any(p.x.stderr for p in members) else None,
                yerr=vertical_errors(members, plot.y),
                fmt=marker,
                markersize=6.5,
                color=palette.families[family],
                markeredgecolor=palette.paper,
                markeredgewidth=0.8,
                ecolor=palette.families[family],
                elinewidth=1.2,
                capsize=2.5,
                label=name,
                zorder=3,
            )
    _axes(figure, axes, plot, palette)
    if plot.reference:
        axes.axvline(
            plot.reference.x.value, color=palette.faint, linestyle=(0, (2, 2)), linewidth=1.2, zorder=1
        )
        is_first = plot.reference.x.value < min(point.x.value for point in plot.points)
        axes.annotate(
            f"{shortened(plot.reference.label)}, the reference",
            (plot.reference.x.value, 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(5 if is_first else -5, 6),
            textcoords="offset points",
            rotation=90,
            horizontalalignment="left" if is_first else "right",
            verticalalignment="bottom",
            fontsize=8.5,
            color=palette.faint,
        )
    if len({point.family for point in plot.points}) > 1:
        axes.legend(
            frameon=False,
            fontsize=8.5,
            labelcolor=palette.ink,
            loc="lower center",
            ncols=4,
            bbox_to_anchor=(0.5, 1.0),
            borderaxespad=0.2,
            handletextpad=0.3,
            columnspacing=1.2,
        )


def _axes(figure: Figure, axes: Axes, plot: Plot, palette: Palette) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    if plot.y.is_log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 300 else (1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_locator(LogLocator(subs=range(2, 10)))
    if plot.x.is_log:
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(
            LogLocator(subs=(1, 1.5, 2, 3, 4, 6, 8) if high / low < 20 else (1, 2, 5))
        )
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plot.x.tick(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plot.y.tick(value)))
    is_narrow = figure.get_figwidth() < _NARROW_INCHES
    axes.margins(x=0.16 if is_narrow else 0.09, y=0.11)
    _limit(axes, plot, palette)
    gap = "\n" if is_narrow else " "
    axes.set_xlabel(f"{shortened(plot.x.label, LONGEST_TITLE)}{gap}({plot.x.better})", color=palette.ink)
    axes.set_ylabel(f"{shortened(plot.y.label, LONGEST_TITLE)}{gap}({plot.y.better})", color=palette.ink)
    axes.grid(color=palette.faint, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", color=palette.faint, labelcolor=palette.ink)
    for spine in axes.spines.values():
        spine.set_color(palette.faint)
    axes.set_facecolor("none")


def _limit(axes: Axes, plot: Plot, palette: Palette) -> None:
    """Draw the loss that was called small, where it is near the points."""
    values = [point.y.value for point in plot.points]
    if plot.limit is None or not min(values) / 2 < plot.limit < max(values) * 3:
        return
    axes.axhline(plot.limit, color=palette.faint, linestyle=(0, (5, 3)), linewidth=0.9, zorder=1)
    others = [point.x.value for point in plot.points]
    is_left = plot.reference is not None and plot.reference.x.value > max(others)  # away from the reference
    axes.annotate(
        f"loss allowed: {plot.limit:g}",
        (0.0 if is_left else 1.0, plot.limit),
        xycoords=("axes fraction", "data"),
        xytext=(4 if is_left else -4, 3),
        textcoords="offset points",
        horizontalalignment="left" if is_left else "right",
        fontsize=8,
        color=palette.faint,
    )
