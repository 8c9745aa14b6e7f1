"""Shows one answer as it comes: plain text with whole words on a terminal, as it is anywhere else.

Everything passes the control filter, and nothing is taken for markup.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum

from localllm.cli.chat.looks import Looks, columns, looks_of
from localllm.cli.word_wrap import WordWrap
from localllm.control_filter import ControlFilter


class Think(StrEnum):
    """What to do with a model's reasoning; away from a terminal, `dim` leaves it out."""

    SHOW = "show"
    DIM = "dim"
    HIDE = "hide"


class AnswerView(ABC):
    """Where an answer is shown."""

    @abstractmethod
    def reason(self, text: str) -> None:
        """Show a piece of the reasoning in front of the answer."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Show a piece of the answer."""

    @abstractmethod
    def close(self) -> None:
        """End the line; to be called also when something failed."""


class Unseen(AnswerView):
    """Shows nothing: the answer becomes data."""

    def reason(self, text: str) -> None:
        return

    def say(self, text: str) -> None:
        return

    def close(self) -> None:
        return


class PlainView(AnswerView):
    """Prints text on stdout."""

    def __init__(self, think: Think, *, looks: Looks | None = None) -> None:
        self._looks = looks_of(sys.stdout) if looks is None else looks
        self._think = think
        self._dims = think is Think.DIM and self._looks.styles
        self._filter = ControlFilter()
        self._wrap = WordWrap(columns()) if self._looks.is_terminal else None
        self._reasons = False
        self._has_said = False
        self._last = ""

    def reason(self, text: str) -> None:
        if not shows_reasoning(self._think, self._looks):
            return
        if not self._reasons:
            self._reasons = True
            self._raw("\x1b[2m" if self._dims else "[thinking]\n" if self._looks.is_terminal else "")
        self._show(text)

    def say(self, text: str) -> None:
        if self._reasons:
            self._end_reasoning()
            answer = "[answer]\n" if self._looks.is_terminal and not self._dims else ""
            self._raw(f"\n\n{answer}")
        if self._looks.is_terminal and not self._has_said:
            text = text.lstrip("\n")
        self._has_said = self._has_said or bool(text)
        self._show(text)

    def close(self) -> None:
        if self._reasons:
            self._end_reasoning()
        if self._wrap:
            self._raw(self._wrap.finish())
        if self._last != "\n":
            self._raw("\n")

    def _end_reasoning(self) -> None:
        self._reasons = False
        if self._wrap:
            self._raw(self._wrap.finish())
            self._wrap = WordWrap(columns())
        self._raw("\x1b[22m" if self._dims else "")
        self._filter = ControlFilter()  # a sequence that was begun ends with what it is part of

    def _show(self, text: str) -> None:
        harmless = self._filter.feed(text)
        if self._wrap:
            self._wrap.width = columns()
            harmless = self._wrap.feed(harmless)
        self._raw(harmless)

    def _raw(self, text: str) -> None:
        if text:
            self._last = text[-1]
            sys.stdout.write(text)
            sys.stdout.flush()


def shows_reasoning(think: Think, looks: Looks) -> bool:
    """Tell whether reasoning is to be seen at all."""
    return think is Think.SHOW or (think is Think.DIM and looks.is_terminal)


ViewMaker = Callable[[], AnswerView]
