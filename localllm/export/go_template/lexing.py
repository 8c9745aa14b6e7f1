"""Cuts a Go template into text and actions, and actions into tokens, as Go's text/template/parse does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

_WHITE_SPACE = " \t\r\n"
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<text>"(?:[^"\\\n]|\\.)*")
  | (?P<raw>`[^`]*`)
  | (?P<number>[+-]?[0-9]+(?![\w.]))
  | (?P<variable>\$\w*)
  | (?P<field>\.[A-Za-z_]\w*)
  | (?P<dot>\.(?![\w]))
  | (?P<word>[A-Za-z_]\w*)
  | (?P<sign>:=|=|,|\(|\)|\|)
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class GoTemplateError(Exception):
    """A template that is wrong, or that uses more of the language than is known here."""


class Kind(Enum):
    """What a token is."""

    TEXT = auto()
    NUMBER = auto()
    VARIABLE = auto()
    FIELD = auto()
    DOT = auto()
    WORD = auto()
    SIGN = auto()


@dataclass(frozen=True)
class Token:
    """A token of an action; `value` is what it stands for. `is_joined` tells that no space is in front."""

    kind: Kind
    value: str
    is_joined: bool = False


@dataclass(frozen=True)
class Text:
    """What stands between actions, trimmed as their markers say."""

    text: str


@dataclass(frozen=True)
class Action:
    """The tokens between `{{` and `}}`."""

    tokens: tuple[Token, ...]


def pieces(source: str) -> Iterator[Text | Action]:
    """Yield the parts of a template. Raise GoTemplateError for an action that is broken or not closed."""
    at, trims = 0, False
    while True:
        start = source.find("{{", at)
        text = source[at:] if start < 0 else source[at:start]
        if trims:
            text = text.lstrip(_WHITE_SPACE)
        if start < 0:
            if text:
                yield Text(text)
            return
        begin = start + 2
        if source[begin : begin + 1] == "-" and source[begin + 1 : begin + 2] in tuple(_WHITE_SPACE):
            text, begin = text.rstrip(_WHITE_SPACE), begin + 2
        if text:
            yield Text(text)
        tokens, at, trims = _action(source, begin)
        if tokens is not None:
            yield Action(tokens)


def _action(source: str, at: int) -> tuple[tuple[Token, ...] | None, int, bool]:
    """Return the tokens of an action (None: a comment), where it ends, and whether text behind is trimmed."""
    comment = _COMMENT.match(source, at)
    if comment is not None:
        end, trims = _end(source, comment.end())
        if end is None:
            raise GoTemplateError("a comment must fill its action")
        return None, end, trims
    tokens: list[Token] = []
    is_joined = False
    while True:
        end, trims = _end(source, at)
        if end is not None:
            return tuple(tokens), end, trims
        match = _TOKEN.match(source, at)
        if match is None:
            raise GoTemplateError(f"cannot read {source[at : at + 20]!r}")
        at = match.end()
        if match.lastgroup == "space":
            is_joined = False
            continue
        tokens.append(_token(match, is_joined))
        is_joined = True


def _end(source: str, at: int) -> tuple[int | None, bool]:
    """Return where an action ends when its end is at `at`, and whether it trims."""
    if source.startswith("}}", at):
        return at + 2, False
    is_trimming = source[at : at + 1] in tuple(_WHITE_SPACE) and source.startswith("-}}", at + 1)
    return (at + 4, True) if is_trimming else (None, False)


def _token(match: re.Match[str], is_joined: bool) -> Token:
    text, group = match[0], match.lastgroup
    if group == "text":
        return Token(Kind.TEXT, _ESCAPE.sub(_unescaped, text[1:-1]), is_joined)
    if group == "raw":
        return Token(Kind.TEXT, text[1:-1], is_joined)
    if group == "field":
        return Token(Kind.FIELD, text[1:], is_joined)
    kinds = {"number": Kind.NUMBER, "variable": Kind.VARIABLE, "dot": Kind.DOT, "word": Kind.WORD}
    return Token(kinds.get(str(group), Kind.SIGN), text, is_joined)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if match[1] and int(match[1], 16) > 0x7F:
        raise GoTemplateError("a byte that is no character")
    if code:
        return chr(int(code, 16))
    if match[4] not in _SIMPLE:
        raise GoTemplateError(f"unknown escape {match[0]!r}")
    return _SIMPLE[match[4]]
