"""The answers of one request while they come in, and what they become: a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from localllm.conversation import Message, Role, now, well_formed
from localllm.engine import Chunk, FinishReason, Statistics
from localllm.reasoning import split_reasoning

Alternatives = tuple[tuple[Message, ...], ...]


class Reply:
    """Of `count` answers the first is the answer, the others are its alternatives, behind `alternatives`.

    `opened` tells that the prompt ended inside of the reasoning.
    """

    def __init__(self, model: str, count: int, alternatives: Alternatives, *, opened: bool = False) -> None:
        self.statistics: Statistics | None = None
        self._model = model
        self._created = now()
        self._parts: list[list[str]] = [[] for _ in range(count)]
        self._reasons = [FinishReason.INTERRUPTED] * count  # until there is another
        self._alternatives = alternatives
        self._opened = opened

    @property
    def has_begun(self) -> bool:
        """Tell whether the engine has read the prompt."""
        return any(self._parts)

    def add(self, chunk: Chunk) -> None:
        """Take the next piece."""
        self._parts[chunk.index].append(chunk.text)
        if chunk.finish_reason is not None:
            self._reasons[chunk.index] = chunk.finish_reason
        self.statistics = chunk.statistics or self.statistics

    def message(self) -> Message | None:
        """Return the answer so far; None without a single word."""
        answers = [self._one(index) for index in range(len(self._parts))]
        if not any(answers):
            return None
        first, *others = [answer for answer in answers if answer is not None]
        return replace(first, alternatives=(*self._alternatives, *((other,) for other in others)))

    def _one(self, index: int) -> Message | None:
        text = well_formed("".join(self._parts[index]))
        if not text.strip():
            return None
        reasoning, said = split_reasoning(text, opened=self._opened)
        reason = self._reasons[index].value
        return Message(Role.ASSISTANT, said, self._created, self._model, reasoning, reason)


def replaced(run: Sequence[Message]) -> Alternatives:
    """Return the alternatives of what takes the place of `run`: those it had, and itself."""
    if not run:
        return ()
    return (*run[0].alternatives, (run[0].without_alternatives(), *run[1:]))


def strip_reasoning(text: str) -> str:
    """Return what is said of an answer."""
    return split_reasoning(text)[1]
