"""Text of models and files for readers: nothing in it steers a terminal, and all of it can be written."""

from __future__ import annotations

from localllm.control_filter import clean

_LONGEST_NAME = 24  # characters


def plain(text: str) -> str:
    """Return text without control sequences; bytes of a file name that are no UTF-8 become question marks."""
    return clean(text).encode("utf-8", "replace").decode("utf-8")


def shortened(name: str, most: int = _LONGEST_NAME) -> str:
    """Return a name that can be drawn in one line: the end of a long one, where files of a model differ."""
    shown = "".join(char for char in plain(name) if char.isprintable())
    return shown if len(shown) <= most else f"…{shown[1 - most :]}"
