"""Finds where a JSON object ends that comes in pieces (pure)."""

from __future__ import annotations


class ObjectEnd:
    """Follows the braces and texts of one object, which begins with the first character."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_text = False
        self._is_escaped = False

    def find(self, piece: str) -> int | None:
        """Return how much of the next piece belongs to the object, None when it goes on behind it."""
        for at, letter in enumerate(piece):
            if self._in_text:
                self._follow_text(letter)
            elif letter == '"':
                self._in_text = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    return at + 1
        return None

    def _follow_text(self, letter: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif letter == "\\":
            self._is_escaped = True
        elif letter == '"':
            self._in_text = False
