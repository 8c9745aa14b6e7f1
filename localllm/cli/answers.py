"""Prints an answer as it is generated, stripped of terminal control sequences."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from localllm.control_filter import ControlFilter

if TYPE_CHECKING:
    from localllm.engine import Chunk


def print_answer(chunks: Iterator[Chunk]) -> tuple[str, Chunk]:
    """Print `chunks` on stdout as they come, then a newline; return the whole text and the last chunk."""
    control_filter = ControlFilter()
    parts: list[str] = []
    last: Chunk | None = None
    for chunk in chunks:
        parts.append(chunk.text)
        sys.stdout.write(control_filter.feed(chunk.text))
        sys.stdout.flush()
        last = chunk
    sys.stdout.write("\n")
    sys.stdout.flush()
    if last is None:
        raise AssertionError("a stream ended without a finish reason")
    return "".join(parts), last
