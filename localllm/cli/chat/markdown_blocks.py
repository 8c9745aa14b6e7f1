"""Tells which blocks of a growing Markdown text are finished: nothing can change them any more (pure)."""

from __future__ import annotations

import re

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_LIST_ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)])[ \t]")


def finished_length(text: str) -> int:
    """Return how long the finished blocks at the beginning of `text` are.

    A block is finished when a blank line follows outside of a fence, and behind that something that begins
    at the margin; an item goes on the list in front of it.
    """
    fence = ""
    blank = is_list = False
    finished = at = 0
    for line in text.splitlines(keepends=True):
        whole = line.endswith("\n")
        mark = _FENCE.match(line)
        if not fence and blank and not line[0].isspace() and whole:
            is_item = bool(_LIST_ITEM.match(line))
            if not (is_list and is_item):
                finished = at
            is_list = is_item
        elif at == 0:
            is_list = bool(_LIST_ITEM.match(line))
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
            fence = ""
        blank = not line.strip()
        at += len(line)
    return finished
