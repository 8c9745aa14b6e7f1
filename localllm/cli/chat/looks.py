"""What a stream can show: whether it is a terminal, how wide, and with styles or without."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TextIO

_DUMB = ("", "dumb", "unknown")


@dataclass(frozen=True)
class Looks:
    """`is_terminal`: people read it. `moves`: the cursor can go back. `styles`: text can be dim or bold."""

    is_terminal: bool = False
    moves: bool = False
    styles: bool = False

    def dim(self, text: str) -> str:
        """Return `text` to be shown less bright, where there are styles."""
        return f"\x1b[2m{text}\x1b[22m" if self.styles and text else text

    def bold(self, text: str) -> str:
        """Return `text` to be shown bold, where there are styles."""
        return f"\x1b[1m{text}\x1b[22m" if self.styles and text else text


def looks_of(stream: TextIO) -> Looks:
    """Find out what `stream` can show; NO_COLOR and TERM=dumb are kept to."""
    if not stream.isatty():
        return Looks()
    moves = os.environ.get("TERM", "" if sys.platform != "win32" else "windows") not in _DUMB
    if moves and sys.platform == "win32":
        from rich.console import detect_legacy_windows

        moves = not detect_legacy_windows()
    return Looks(is_terminal=True, moves=moves, styles=moves and not os.environ.get("NO_COLOR"))


def columns() -> int:
    """Return the width of the terminal in columns."""
    return max(shutil.get_terminal_size().columns, 8)
