"""Writes a value into a Modelfile so that Ollama reads the same, or says that this cannot be done.

Nothing is escaped in a Modelfile: a value may stand between quotes, or between three of them, and ends at the
first end of a line at which such quotes stand. Characters that Go does not call printable are dropped. After
parser/parser.go of Ollama.
"""

from __future__ import annotations

_QUOTES = '"""'
_ENDS_OF_LINES = "\r\n"
_SPACES = " \t"


class NotWritableError(Exception):
    """A value that Ollama would read as something else."""


def written(value: str) -> str:
    """Return a value as a Modelfile takes it. Raise NotWritableError."""
    for form in (value, f'"{value}"', f"{_QUOTES}{value}{_QUOTES}"):
        if as_read(form) == value:
            return form
    raise NotWritableError


def without_invisible(value: str) -> str:
    """Return a value without the characters that Ollama drops."""
    return "".join(filter(_is_kept, value))


def as_read(form: str) -> str | None:
    """Return the value that Ollama reads, None where it would end elsewhere than with `form`."""
    read = ""
    text = f"{form}\n"
    for at, character in enumerate(text):
        if character in _ENDS_OF_LINES + _SPACES:
            value = _unquoted(read.strip())
            if value is not None and character not in _SPACES:
                return value if at == len(text) - 1 else None
            read += character
        elif _is_kept(character):
            read += character
    return None


def _unquoted(text: str) -> str | None:
    """Return what stands between quotes, the text itself without any, None where they are not closed."""
    if text.startswith(_QUOTES):
        return text[3:-3] if len(text) >= 6 and text.endswith(_QUOTES) else None
    if text.startswith('"'):
        return text[1:-1] if len(text) >= 2 and text.endswith('"') else None
    return text


def _is_kept(character: str) -> bool:
    return character.isprintable() or character in _ENDS_OF_LINES + _SPACES
