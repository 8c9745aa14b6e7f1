"""Finds tool calls in an answer while it is generated (pure).

Text is passed on as soon as it cannot be part of a call. What looks like a call and is none is text. Of a
call in JSON between marks the arguments are passed on as they come.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from localllm.server.call_syntax import MARKS, PYTHON_TAG, Call, CallSyntax, calls_in
from localllm.server.object_end import ObjectEnd
from localllm.server.xml_calls import Schemas

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"(?P<name>[^"\\]+)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')


@dataclass(frozen=True)
class CallBegun:
    """A call whose arguments follow in pieces."""

    name: str


@dataclass(frozen=True)
class Arguments:
    """The next piece of the arguments of the call that was begun last."""

    text: str


Found = str | Call | CallBegun | Arguments


class _State(Enum):
    BEGINNING = auto()  # only white space so far
    TEXT = auto()
    CALL = auto()
    ARGUMENTS = auto()
    END = auto()  # between the arguments and the closing mark


class CallReader:
    """Splits an answer into text and calls; keeps its place between pieces.

    `schemas` are those of the arguments of each tool: without marks around it, only a call of one is a call.
    """

    def __init__(self, syntax: CallSyntax, schemas: Schemas) -> None:
        self._syntax = syntax
        self._schemas = schemas
        self._opening, self._closing = MARKS[syntax]
        self._state = _State.BEGINNING
        self._is_marked = False
        self._held = ""
        self._object = ObjectEnd()
        self._space = ""  # behind text, passed on when more text follows and dropped in front of a call

    def feed(self, text: str) -> list[Found]:
        """Take the next piece of the answer and return what is certain."""
        self._held += text
        found: list[Found] = []
        while self._advance(found):
            pass
        return found

    def finish(self) -> list[Found]:
        """Return what was held back."""
        held, self._held = self._held, ""
        if self._state in (_State.ARGUMENTS, _State.END):
            return []
        if self._state is _State.CALL:
            inside = held[: len(held) - _overlap(held, self._closing)]  # the limit can cut the closing mark
            whole = inside if calls_in(inside, self._syntax, self._schemas) else held
            return self._read(whole, closed=False)
        return self._text(held)

    def _advance(self, found: list[Found]) -> bool:
        """Take one step; return whether another can follow."""
        if self._state is _State.CALL:
            return self._begin_arguments(found) or self._end_call(found)
        if self._state is _State.ARGUMENTS:
            return self._pass_arguments(found)
        if self._state is _State.END:
            return self._up_to_closing() is not None
        if self._state is _State.BEGINNING and self._begins_call():
            self._state = _State.CALL
            return True
        if self._state is _State.BEGINNING:
            begun = self._held.lstrip()
            if not begun or (self._opening or PYTHON_TAG).startswith(begun):
                return False
            self._state = _State.TEXT
        at = self._held.find(self._opening) if self._opening else -1
        if at >= 0:
            found += self._text(self._held[:at])
            self._held = self._held[at + len(self._opening) :]
            self._state, self._is_marked = _State.CALL, True
            return True
        keep = _overlap(self._held, self._opening)
        certain, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        found += self._text(certain)
        return False

    def _begins_call(self) -> bool:
        """Whether an answer begins like a call that has no marks, or lost them as control tokens do."""
        begun = self._held.lstrip()
        if begun.startswith(PYTHON_TAG):
            self._held = begun[len(PYTHON_TAG) :]
            return True
        if self._syntax is CallSyntax.LLAMA:
            return begun.startswith("{")
        return self._syntax is CallSyntax.MISTRAL and begun.startswith("[{")

    def _begin_arguments(self, found: list[Found]) -> bool:
        head = _HEAD.match(self._held) if self._is_marked and self._closing else None
        if head is None:
            return False
        found.append(CallBegun(head["name"]))
        self._held = self._held[head.end() :]
        self._state, self._object, self._space = _State.ARGUMENTS, ObjectEnd(), ""
        return True

    def _pass_arguments(self, found: list[Found]) -> bool:
        end = self._object.find(self._held)
        piece, self._held = self._held[:end], "" if end is None else self._held[end:]
        if piece:
            found.append(Arguments(piece))
        if end is not None:
            self._state = _State.END
        return end is not None

    def _end_call(self, found: list[Found]) -> bool:
        inside = self._up_to_closing()
        if inside is not None:
            found += self._read(inside, closed=True)
        return inside is not None

    def _up_to_closing(self) -> str | None:
        """Leave the call where its mark closes it and return what is in front of that; None: not yet."""
        at = self._held.find(self._closing) if self._closing else -1
        if at < 0:
            return None
        inside, self._held = self._held[:at], self._held[at + len(self._closing) :]
        self._state = _State.TEXT
        return inside

    def _read(self, inside: str, *, closed: bool) -> list[Found]:
        """Return the calls in what is between marks; where there are none, all of it as text."""
        calls = calls_in(inside, self._syntax, self._schemas)
        if calls is not None and (self._is_marked or all(call.name in self._schemas for call in calls)):
            self._space = ""
            return [*calls]
        marks = (self._opening, self._closing if closed else "") if self._is_marked else ("", "")
        return self._text(marks[0] + inside + marks[1])

    def _text(self, text: str) -> list[Found]:
        """Return `text` with the space that was held in front of it, without the space at its end."""
        said = (self._space + text).rstrip()
        self._space = (self._space + text)[len(said) :]
        return [said] if said else []


def _overlap(text: str, mark: str) -> int:
    """Return the length of the longest end of `text` that begins `mark`."""
    longest = min(len(mark) - 1, len(text))
    return next((length for length in range(longest, 0, -1) if text.endswith(mark[:length])), 0)
