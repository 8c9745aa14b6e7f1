"""Takes an answer from the engine to the screen and keeps what is known about it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from localllm.cli.chat.answer_view import AnswerView
from localllm.cli.chat.interruption import Stop
from localllm.engine import Chunk, FinishReason, Statistics
from localllm.reasoning import Part, ReasoningSplitter, split_reasoning


@dataclass
class Told:
    """One answer: its text as the model gave it, and why it ended."""

    raw: str = ""
    finish_reason: FinishReason | None = None


@dataclass
class Outcome:
    """The answers to one message."""

    answers: list[Told] = field(default_factory=list)
    statistics: Statistics | None = None
    opened: bool = False

    def add(self, chunk: Chunk) -> None:
        """Take the next piece of one of the answers."""
        while len(self.answers) <= chunk.index:
            self.answers.append(Told())
        told = self.answers[chunk.index]
        told.raw += chunk.text
        told.finish_reason = chunk.finish_reason or told.finish_reason
        self.statistics = chunk.statistics or self.statistics

    @property
    def was_interrupted(self) -> bool:
        """Return whether somebody stopped an answer."""
        return any(told.finish_reason is FinishReason.INTERRUPTED for told in self.answers)

    @property
    def was_cut(self) -> bool:
        """Return whether an answer reached its token limit or filled the context."""
        return any(told.finish_reason is FinishReason.LENGTH for told in self.answers)

    def to_json(self) -> dict[str, Any]:
        """Return the answer as data; of several each under `answers`, with the counts of all."""
        texts = [self._text(told) for told in self.answers]
        figures = figures_of(self.statistics)
        if len(texts) == 1:
            return {**texts[0], **figures}
        return {"answers": texts, **figures}

    def _text(self, told: Told) -> dict[str, Any]:
        reasoning, said = split_reasoning(told.raw, opened=self.opened)
        thought = {"reasoning": reasoning} if reasoning else {}
        return {"text": said, **thought, "finish_reason": told.finish_reason}


def figures_of(statistics: Statistics | None) -> dict[str, Any]:
    """Return counts and speeds under the names that the JSON has everywhere."""
    if statistics is None:
        return {}
    return {
        "prompt_tokens": statistics.prompt_tokens,
        "completion_tokens": statistics.completion_tokens,
        "cached_tokens": statistics.cached_tokens,
        "time_to_first_token_seconds": statistics.time_to_first_token_seconds,
        "prompt_tokens_per_second": statistics.prompt_tokens_per_second,
        "generation_tokens_per_second": statistics.generation_tokens_per_second,
    }


def _nothing() -> None:
    return


def show_answer(
    chunks: Iterator[Chunk],
    view: Callable[[int], AnswerView],
    *,
    opened: bool = False,
    stop: Stop | None = None,
    before_text: Callable[[], None] = _nothing,
    in_hiding: Callable[[], None] | None = None,
) -> Outcome:
    """Show the first answer as it comes, the others behind it, and return what there was.

    `view` makes the view of an answer by its number; `opened` tells that the prompt ended inside of
    reasoning; `before_text` is called before something is shown for the first time, `in_hiding`, if given,
    for every piece of reasoning in place of showing it.
    """
    outcome = Outcome(opened=opened)
    first = _Telling(lambda: view(0), opened, before_text, in_hiding)
    try:
        with _closing(chunks):  # what was said is kept now, also when it cannot be shown
            for chunk in chunks:
                if stop:
                    stop.again()
                outcome.add(chunk)
                if chunk.index == 0:
                    first.tell(chunk.text)
    finally:
        before_text()
        first.close()
    for index, told in enumerate(outcome.answers[1:], start=1):
        other = _Telling(partial(view, index), opened, _nothing, in_hiding)
        other.tell(told.raw)
        other.close()
    return outcome


def _closing(chunks: Iterator[Chunk]) -> AbstractContextManager[object]:
    return closing(chunks) if isinstance(chunks, Generator) else nullcontext()


class _Telling:
    """Brings one answer to its view, reasoning told from what is said."""

    def __init__(
        self,
        make_view: Callable[[], AnswerView],
        opened: bool,
        before_text: Callable[[], None],
        in_hiding: Callable[[], None] | None,
    ) -> None:
        self._make_view = make_view
        self._view: AnswerView | None = None
        self._splitter = ReasoningSplitter(opened=opened)
        self._before_text = before_text
        self._in_hiding = in_hiding

    def tell(self, text: str) -> None:
        self._show(self._splitter.feed(text))

    def close(self) -> None:
        try:
            self._show(self._splitter.finish())
        finally:
            if self._view:
                self._view.close()

    def _show(self, parts: list[Part]) -> None:
        for part in parts:
            if part.is_reasoning and self._in_hiding:
                self._in_hiding()
                continue
            if self._view is None:
                self._before_text()
                self._view = self._make_view()
            if part.is_reasoning:
                self._view.reason(part.text)
            else:
                self._view.say(part.text)
