"""Tables on stdout: fitted to the terminal, plain columns when piped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal

_FOLDED_WIDTH = 20  # a path is folded to no less


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str]) -> None:
    """Print a table of clean texts; columns whose heading is in `numeric` are aligned right."""
    if sys.stdout.isatty():
        _rich_table(headings, rows, numeric)
    else:
        _plain_table(headings, rows, numeric)


def _rich_table(headings: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str]) -> None:
    """Fit a table into the terminal: in a narrow one headings take several lines and paths are folded.

    What does not fit even so is printed plain, for the terminal to break: nothing is ever cut off.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    is_narrow = _width(headings, rows) > console.width
    shown = [heading.replace(" ", "\n") if is_narrow else heading for heading in headings]
    has_path = headings[-1] not in numeric  # the last column may be folded, no other
    fixed = _width(shown[:-1], rows) + _FOLDED_WIDTH if has_path else _width(shown, rows)
    if fixed > console.width:
        _plain_table(headings, rows, numeric)
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, heading in enumerate(headings):
        justify: Literal["left", "right"] = "right" if heading in numeric else "left"
        is_path = has_path and index == len(headings) - 1
        table.add_column(shown[index], justify=justify, overflow="fold", no_wrap=not is_path)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _width(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how wide a table is with these columns, two spaces after each; headings may have lines."""
    longest = [max(map(len, heading.split("\n"))) for heading in headings]
    cells = [max((len(row[index]) for row in rows), default=0) for index in range(len(headings))]
    return sum(max(pair) + 2 for pair in zip(longest, cells, strict=True))


def _plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str]) -> None:
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    for row in [headings, *rows]:
        cells = [
            cell.rjust(width) if heading in numeric else cell.ljust(width)
            for heading, cell, width in zip(headings, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
