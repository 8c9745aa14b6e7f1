"""The columns of every table: what each is called, what its cells say, and how several tables share them.

A column that no file has a figure for is left out. What does not fit into one table becomes several, each of
which begins with the level.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from localllm.comparison.measurement import Measurement, Speed, Uncertain
from localllm.report import figures
from localllm.units import format_bytes, format_seconds

MISSING = "-"
LEVEL = "level"
REFERENCE = "ref"  # behind the level of the file that the others are compared with
_GAP = 2  # between columns


class Group(StrEnum):
    """Columns that belong together when a table is taken apart."""

    SIZE = "size"
    SPEED = "speed"
    PERPLEXITY = "perplexity"
    REFERENCE = "reference"


@dataclass(frozen=True)
class Column:
    """A figure: its name in JSON, its heading, what a cell says, and the number to sort by.

    Text and number are None where it was not measured.
    """

    name: str
    heading: str
    group: Group
    text: Callable[[Measurement], str | None]
    number: Callable[[Measurement], float | None]
    explanation: str


def _plain(name: str, heading: str, group: Group, write: Callable[[float], str], explanation: str) -> Column:
    def number(row: Measurement) -> float | None:
        value: float | None = getattr(row, name)
        return value

    def text(row: Measurement) -> str | None:
        value = number(row)
        return None if value is None else write(value)

    return Column(name, heading, group, text, number, explanation)


def _uncertain(
    name: str, heading: str, group: Group, write: Callable[[Uncertain], str], explanation: str
) -> Column:
    def number(row: Measurement) -> float | None:
        quantity: Uncertain | None = getattr(row, name)
        return None if quantity is None else quantity.value

    def text(row: Measurement) -> str | None:
        quantity: Uncertain | None = getattr(row, name)
        return None if quantity is None else write(quantity)

    return Column(name, heading, group, text, number, explanation)


def _speed(name: str, heading: str, explanation: str) -> Column:
    def number(row: Measurement) -> float | None:
        measured: Speed | None = getattr(row, name)
        return None if measured is None else measured.value

    def text(row: Measurement) -> str | None:
        measured: Speed | None = getattr(row, name)
        return None if measured is None else figures.speed(measured)

    return Column(name, heading, Group.SPEED, text, number, explanation)


COLUMNS = (
    _plain("size_bytes", "size", Group.SIZE, format_bytes, "the file, all parts of a split one"),
    _plain("bits_per_weight", "bits per weight", Group.SIZE, "{:.2f}".format, "of all weights together"),
    _plain(
        "share_of_reference", "of the original", Group.SIZE, figures.percent, "the size against the reference"
    ),
    _plain("load_seconds", "load", Group.SIZE, format_seconds, "loading with the file in memory already"),
    _plain("cold_load_seconds", "cold load", Group.SIZE, format_seconds, "loading for the first time"),
    _plain("peak_memory_bytes", "peak memory", Group.SIZE, format_bytes, "the most the process held"),
    _plain(
        "estimated_memory_bytes", "memory estimate", Group.SIZE, format_bytes, "what was foretold for that"
    ),
    _speed("prompt_tokens_per_second", "prompt tok/s", "tokens read in a second"),
    _speed("generation_tokens_per_second", "generate tok/s", "tokens written in a second"),
    _uncertain(
        "perplexity",
        "perplexity",
        Group.PERPLEXITY,
        figures.with_error,
        "how surprised it is by the text; lower is better",
    ),
    _uncertain(
        "perplexity_ratio",
        "perplexity ratio",
        Group.PERPLEXITY,
        figures.with_error,
        "against the reference; 1 is as good",
    ),
    _uncertain(
        "kl_divergence",
        "KL divergence",
        Group.REFERENCE,
        figures.with_error,
        "how far its probabilities are from the reference's, in nats; lower is better",
    ),
    _uncertain(
        "kl_divergence_p99",
        "KL p99",
        Group.REFERENCE,
        figures.with_error,
        "that of the worst token in a hundred",
    ),
    _uncertain(
        "same_top_token",
        "same top token",
        Group.REFERENCE,
        figures.percent_with_error,
        "how often it finds the same token most probable as the reference; higher is better",
    ),
    _uncertain(
        "rms_delta_p",
        "RMS Δp",
        Group.REFERENCE,
        figures.percent_with_error,
        "how much the right token's probability changes (root mean square)",
    ),
)
# What a narrow terminal shows while things are being measured.
ESSENTIAL = ("size_bytes", "generation_tokens_per_second", "kl_divergence", "same_top_token")


@dataclass(frozen=True)
class TextTable:
    """Headings and rows of text; the first column is the level, the others are numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[str, ...]:
        return self.headings[1:]


def filled_columns(rows: Sequence[Measurement]) -> list[Column]:
    """Return the columns that at least one file has a figure for."""
    return [column for column in COLUMNS if any(column.number(row) is not None for row in rows)]


def row_labels(rows: Sequence[Measurement]) -> list[str]:
    """Return what to call each file: its level, with the file's name where several have the same."""
    levels = Counter(row.level for row in rows)
    names = [row.level if levels[row.level] == 1 else f"{row.level} {Path(row.path).stem}" for row in rows]
    return list(map(one_line, names))


def one_line(name: str) -> str:
    """Return a name for a table: without line breaks."""
    return " ".join(name.split())


def text_table(rows: Sequence[Measurement], columns: Sequence[Column]) -> TextTable:
    """Return the cells of some columns; the reference is marked."""
    names = [
        f"{label} {REFERENCE}" if row.is_reference else label
        for row, label in zip(rows, row_labels(rows), strict=True)
    ]
    cells = [[column.text(row) or MISSING for column in columns] for row in rows]
    return TextTable(
        (LEVEL, *(column.heading for column in columns)),
        tuple((name, *line) for name, line in zip(names, cells, strict=True)),
    )


def tables_within(rows: Sequence[Measurement], width: int | None) -> list[TextTable]:
    """Return everything measured as tables of at most so many characters; None: as one table.

    Headings may be broken between words. A group of columns is kept together where that is possible; a single
    column is never dropped, however narrow the terminal is.
    """
    columns = filled_columns(rows)
    whole = text_table(rows, columns)
    if width is None or table_width(whole) <= width:
        return [whole]
    tables: list[TextTable] = []
    for group in Group:
        members = [column for column in columns if column.group is group]
        if not members:
            continue
        table = text_table(rows, members)
        if tables and table_width(_joined(tables[-1], table)) <= width:
            tables[-1] = _joined(tables[-1], table)
        else:
            tables.extend(folded(table, width))
    return tables


def folded(table: TextTable, width: int | None) -> list[TextTable]:
    """Return a table as several that fit, each with the first column; one when `width` is None."""
    if width is None or table_width(table) <= width:
        return [table]
    parts: list[TextTable] = []
    for index in range(1, len(table.headings)):
        alone = _picked(table, [0, index])
        joined = _joined(parts[-1], alone) if parts else alone
        if parts and table_width(joined) <= width:
            parts[-1] = joined
        else:
            parts.append(alone)
    return parts


def table_width(table: TextTable) -> int:
    """Return how wide a table is when its headings are broken between words, a gap after each column."""
    return sum(
        _GAP + max(*map(len, heading.split()), *(len(row[index]) for row in table.rows), 0)
        for index, heading in enumerate(table.headings)
    )


def _picked(table: TextTable, indices: Sequence[int]) -> TextTable:
    return TextTable(
        tuple(table.headings[index] for index in indices),
        tuple(tuple(row[index] for index in indices) for row in table.rows),
    )


def _joined(left: TextTable, right: TextTable) -> TextTable:
    """Return two tables of the same first column as one."""
    rows = zip(left.rows, right.rows, strict=True)
    return TextTable((*left.headings, *right.headings[1:]), tuple((*one, *other[1:]) for one, other in rows))
