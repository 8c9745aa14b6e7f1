"""A comparison as one page of HTML that needs nothing else: offline, on a phone, in the dark, by ear.

Every value is escaped by jinja2; the style and the script are files of ours, and the plots SVG that
matplotlib drew. A content security policy keeps the page from requesting anything, whatever is in it.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from math import isfinite
from typing import TYPE_CHECKING

from localllm.comparison.measurement import ComparisonResult, Measurement
from localllm.report import words
from localllm.report.answers import answered
from localllm.report.columns import MISSING, Column, filled_columns, row_labels
from localllm.report.plain_text import plain
from localllm.report.plots import Plot, plots, to_svg
from localllm.report.tasks import task_table

if TYPE_CHECKING:
    from markupsafe import Markup

_WIDE, _NARROW = (660, 480), (340, 360)  # pixels: for a desktop and for a phone


@dataclass(frozen=True)
class _Cell:
    value: str
    error: str
    number: float | None


@dataclass(frozen=True)
class _Row:
    label: str
    is_reference: bool
    failed: bool
    cells: tuple[_Cell, ...]


@dataclass(frozen=True)
class _Drawn:
    name: str
    title: str
    wide: Markup
    narrow: Markup


def to_html(result: ComparisonResult) -> str:
    """Return the page. The same comparison gives the same text."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    labels = row_labels(result.measurements)
    columns = filled_columns(result.measurements)
    script = _template("page.js")
    found = plots(result)
    return environment.get_template("page.html.jinja").render(
        model=result.model,
        started=words.clock(result.started),
        reference=next(
            (label for label, row in zip(labels, result.measurements, strict=True) if row.is_reference), None
        ),
        advice=[words.sentence(sentence) for sentence in result.advice.sentences],
        failures=words.failures(result),
        plots=[_drawn(plot) for plot in found],
        has_log=any(plot.y.is_log for plot in found),
        columns=columns,
        rows=[_row(row, label, columns) for row, label in zip(result.measurements, labels, strict=True)],
        tasks=task_table(result),
        answers=answered(result),
        how=_how(result),
        notes=[words.sentence(note) for note in result.notes],
        versions=words.versions(result.machine),
        style=Markup(_template("page.css")),
        script=Markup(script),
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    )


def _template(name: str) -> str:
    return files("localllm.report").joinpath("templates", name).read_text(encoding="utf-8")


def _shown(value: object) -> object:
    """Take out of a text what has no place in a page: control characters and what turns its direction."""
    from markupsafe import Markup

    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _drawn(plot: Plot) -> _Drawn:
    from markupsafe import Markup

    wide, narrow = (
        Markup(to_svg(plot, width=width, height=height, prefix=f"{plot.name}-{name}-"))
        for name, (width, height) in (("wide", _WIDE), ("narrow", _NARROW))
    )
    return _Drawn(plot.name, plot.title, wide, narrow)


def _row(row: Measurement, label: str, columns: list[Column]) -> _Row:
    cells = tuple(_cell(column, row) for column in columns)
    return _Row(label, row.is_reference, row.error is not None, cells)


def _cell(column: Column, row: Measurement) -> _Cell:
    value, sign, error = (column.text(row) or MISSING).partition(" ±")
    number = column.number(row)
    return _Cell(value, f"{sign.strip()}{error}", number if number is None or isfinite(number) else None)


def _how(result: ComparisonResult) -> list[tuple[str, str]]:
    settings, machine = result.settings, result.machine
    facts = [("machine", words.machine_line(machine))]
    if any(row.generation_tokens_per_second for row in result.measurements):
        facts.append(("speed", words.speed_settings(settings)))
    quality = words.quality_settings(settings)
    if quality:
        facts.append(("quality", quality))
        facts.append(("a small loss", words.loss_sentence(settings)))
        if settings.texts:
            facts.append(("texts", ", ".join(settings.texts)))
    facts.append(("measured with", words.versions(machine)))
    facts.append(("run", result.id))
    return facts
