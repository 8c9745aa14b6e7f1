"""Shows a comparison: tables that fit the terminal, what failed, what it means, how it was measured."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from localllm.cli.compare_options import Format
from localllm.cli.output import Output
from localllm.cli.side_by_side import side_by_side
from localllm.control_filter import clean

if TYPE_CHECKING:
    from localllm.comparison.measurement import ComparisonResult
    from localllm.report.answers import Answered, SharedAnswer

DEPARTS = "▸"  # where an answer leaves the reference's
_WIDEST_PROSE = 100
_NARROWEST_ANSWER = 38  # columns of the terminal for one of several side by side


def show_comparison(out: Output, result: ComparisonResult, form: Format) -> None:
    """Print a comparison in the format that was asked for."""
    from localllm.report.data import to_csv, to_json
    from localllm.report.markdown import to_markdown

    if form is Format.CSV:
        out.text(to_csv(result).rstrip("\n"))
    elif form is Format.MARKDOWN:
        out.text(to_markdown(result).rstrip("\n"))
    elif form is Format.JSON:
        out.data(to_json(result))
    else:
        _show_text(out, result)


def write_reports(out: Output, result: ComparisonResult, html: Path | None, png: Path | None) -> None:
    """Write the page and the plots that were asked for. Raise StorageError."""
    from localllm.publication import publishing

    if html is not None:
        from localllm.report.page import to_html

        with publishing(html) as part:
            part.write_text(to_html(result), encoding="utf-8", newline="\n")
        out.status(f"wrote {html}")
    if png is not None:
        from localllm.report.plots import to_png

        image = to_png(result)
        if image is None:
            out.notice(f"{png} was not written: without quality there is nothing to plot")
            return
        with publishing(png) as part:
            part.write_bytes(image)
        out.status(f"wrote {png}")


def show_table(out: Output, result: ComparisonResult) -> None:
    """Print the figures as one table, or in a narrow terminal as several."""
    from localllm.report.columns import tables_within

    for number, table in enumerate(tables_within(result.measurements, _terminal_width())):
        if number:
            out.text("")
        out.table(table.headings, table.rows, numeric=table.numeric)


def _show_text(out: Output, result: ComparisonResult) -> None:
    from localllm.report import words
    from localllm.report.answers import answered
    from localllm.report.columns import folded
    from localllm.report.tasks import task_table

    show_table(out, result)
    for label, reason in words.failures(result):
        _prose(out, f"{label} failed: {reason}")
    tasks = task_table(result)
    if tasks:
        for table in folded(tasks, _terminal_width()):
            out.text("")
            out.table(table.headings, table.rows, numeric=table.numeric)
    for prompt in answered(result):
        out.text("")
        _show_answers(out, prompt)
    out.text("")
    for sentence in result.advice.sentences:
        _prose(out, sentence)
    if not (sys.stdout.isatty() and sys.stderr.isatty()) or out.quiet:  # there they were told already
        for note in result.notes:
            _prose(out, f"note: {note}")
    for line in _small_print(result):
        _prose(out, line)


def _show_answers(out: Output, prompt: Answered) -> None:
    """Print a prompt and its answers, side by side where they fit; a mark is where one departs."""
    _prose(out, f"> {prompt.prompt}")
    width = _terminal_width()
    if width is not None and 2 <= len(prompt.answers) <= width // _NARROWEST_ANSWER:
        heads, bodies = map(_whose, prompt.answers), map(_marked, prompt.answers)
        beside = [side_by_side(list(map(clean, texts)), width) for texts in (heads, bodies)]
        for line in (*beside[0], "", *beside[1]):
            out.text(line)
        return
    for answer in prompt.answers:
        _prose(out, _whose(answer), indent=2)
        _prose(out, _marked(answer), indent=4)


def _whose(answer: SharedAnswer) -> str:
    if answer.departs_at is None:
        return ", ".join(answer.labels)
    tokens = f"{answer.departs_at} token{'' if answer.departs_at == 1 else 's'}"
    return f"{', '.join(answer.labels)} ({DEPARTS} departs after {tokens})"


def _marked(answer: SharedAnswer) -> str:
    return f"{answer.common}{DEPARTS if answer.departs_at is not None else ''}{answer.own}"


def _small_print(result: ComparisonResult) -> Iterator[str]:
    from localllm.report import words

    if any(row.generation_tokens_per_second for row in result.measurements):
        yield f"speed: {words.speed_settings(result.settings)}"
    quality = words.quality_settings(result.settings)
    if quality:
        against = f" against {result.reference}" if result.reference else ""
        yield f"quality{against}: {quality}; ± is one standard error"


def _prose(out: Output, text: str, indent: int = 0) -> None:
    """Print text broken between words at the edge of the terminal; elsewhere its lines as they are."""
    width = _terminal_width()
    for line in text.splitlines() or [""]:
        if width is None:
            out.text(f"{'':{indent}}{line}")
        else:
            margin = " " * indent
            within = max(20, min(width, _WIDEST_PROSE))
            out.text(
                textwrap.fill(
                    line, within, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
                )
            )


def _terminal_width() -> int | None:
    """Return the width of the terminal in characters; None when there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
