#!/usr/bin/env python3
"""Draw seconds per level, localllm's beside llama.cpp's, from what scripts/bench_quantize.py --json wrote.

    python scripts/chart_quantize.py FILE.json docs/quantize-seconds.svg

Bars are medians, thin lines the range over the repetitions; the ratio stands behind each pair.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

_OWN, _PEER, _INK = "#0072b2", "#b3b3b3", "#404040"
_HEIGHT = 0.38


def main() -> None:
    """Read the figures and write the chart."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path)
    parser.add_argument("chart", type=Path)
    arguments = parser.parse_args()
    figures = json.loads(arguments.figures.read_text(encoding="utf-8"))
    mpl.rcParams |= {"svg.hashsalt": "localllm", "font.family": "sans-serif", "font.size": 9}
    draw(figures).savefig(arguments.chart, metadata={"Date": None})


def draw(figures: dict[str, Any]) -> plt.Figure:
    """Return a figure with a pair of bars for each level."""
    levels = figures["levels"]
    figure, axes = plt.subplots(figsize=(7, 0.42 * len(levels) + 1.1), layout="constrained")
    for place, seconds in enumerate(levels.values()):
        bar(axes, place - _HEIGHT / 2, seconds["llama.cpp"], _PEER)
        bar(axes, place + _HEIGHT / 2, seconds["own"], _OWN)
        ratio = statistics.median(seconds["own"]) / statistics.median(seconds["llama.cpp"])
        end = max(*seconds["llama.cpp"], *seconds["own"])
        axes.annotate(f"{ratio:.2f}", (end, place), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(levels)), list(levels))
    axes.invert_yaxis()
    axes.set_xlabel(
        f"seconds with {figures['threads']} threads; {figures['machine']}; kernels: {figures['kernels']}"
    )
    axes.legend(
        [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in (_PEER, _OWN)],
        ["llama-quantize", "localllm quantize"],
        frameon=False,
        loc="lower right",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.08)
    return figure


def bar(axes: plt.Axes, place: float, seconds: list[float], colour: str) -> None:
    """Draw a median and its range."""
    axes.barh(place, statistics.median(seconds), _HEIGHT, color=colour)
    axes.plot([min(seconds), max(seconds)], [place, place], color=_INK, linewidth=0.8)


if __name__ == "__main__":
    main()
