"""Removes what could steer a terminal from text that comes out of a model or a file.

Escape sequences (CSI, OSC, DCS and their relatives) are dropped whole, also when they arrive in
pieces; other control characters are dropped except newline and tab. Feeding a text character by
character gives the same result as feeding it at once.
"""

from __future__ import annotations

from enum import Enum, auto

_STRING_STARTERS = set("]P_^X")  # OSC, DCS, APC, PM, SOS
_C1_STRINGS = {"\x9d", "\x90", "\x9f", "\x9e", "\x98"}
_BIDI = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()
    SEQUENCE = auto()
    STRING = auto()
    STRING_ESCAPE = auto()


class ControlFilter:
    """Filters a stream of text; keeps its place between calls."""

    def __init__(self) -> None:
        self._state = _State.TEXT

    def feed(self, text: str) -> str:
        """Return the harmless part of the next piece of text."""
        return "".join(char for char in text if self._passes(char))

    def _passes(self, char: str) -> bool:
        if self._state is _State.TEXT:
            return self._plain(char)
        if self._state is _State.ESCAPE:
            self._after_escape(char)
        elif self._state is _State.SEQUENCE:
            if "@" <= char <= "~" or char == "\n":
                self._state = _State.TEXT
            return char == "\n"
        else:
            self._inside_string(char)
        return False

    def _plain(self, char: str) -> bool:
        if char == "\x1b":
            self._state = _State.ESCAPE
        elif char == "\x9b":
            self._state = _State.SEQUENCE
        elif char in _C1_STRINGS:
            self._state = _State.STRING
        else:
            return char in "\n\t" or not (char < " " or "\x7f" <= char <= "\x9f" or char in _BIDI)
        return False

    def _after_escape(self, char: str) -> None:
        if char == "[":
            self._state = _State.SEQUENCE
        elif char in _STRING_STARTERS:
            self._state = _State.STRING
        elif char == "\x1b" or " " <= char <= "/":  # intermediate bytes: the sequence goes on
            self._state = _State.ESCAPE
        else:
            self._state = _State.TEXT

    def _inside_string(self, char: str) -> None:
        """A string sequence ends with BEL, ST (ESC backslash or 0x9c)."""
        if char in "\x07\x9c" or (self._state is _State.STRING_ESCAPE and char == "\\"):
            self._state = _State.TEXT
        else:
            self._state = _State.STRING_ESCAPE if char == "\x1b" else _State.STRING


def clean(text: str) -> str:
    """Return `text` without anything that could steer a terminal."""
    return ControlFilter().feed(text)
