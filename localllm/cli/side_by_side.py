"""Sets texts in columns beside each other, each broken between words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from localllm.cli.word_wrap import WordWrap

_GAP = 2


def side_by_side(texts: Sequence[str], width: int) -> list[str]:
    """Return clean texts as lines of at most `width` columns of the terminal, in columns of one width."""
    from rich.cells import cell_len

    each = (width + _GAP) // len(texts) - _GAP
    columns = [_lines(text, each) for text in texts]
    return [
        (" " * _GAP).join(line + " " * (each - cell_len(line)) for line in lines).rstrip()
        for lines in zip_longest(*columns, fillvalue="")
    ]


def _lines(text: str, width: int) -> list[str]:
    """Break a text; words and lines of code that are longer than the column are cut."""
    from rich.cells import chop_cells

    wrap = WordWrap(width)
    wrapped = wrap.feed(text.expandtabs(4)) + wrap.finish()
    return [piece for line in wrapped.split("\n") for piece in chop_cells(line, width) or [""]]
