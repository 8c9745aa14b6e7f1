"""What every engine can do, so that chat and tests do not care which one they have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from localllm.engine.chunks import Answer, Chunk, FinishReason
from localllm.engine.options import SamplingOptions

Messages = Sequence[Mapping[str, Any]]


class Source(StrEnum):
    """Who decided a setting."""

    GIVEN = "given"
    FILE = "file"
    GENERATION_CONFIG = "generation_config"
    DEFAULT = "default"
    SERVER = "server"


@dataclass(frozen=True)
class Setting:
    """The value of a sampling option in effect, and where it comes from."""

    value: Any
    source: Source


@dataclass(frozen=True)
class StateInfo:
    """A state that was written: the tokens it holds and its size."""

    tokens: int
    size_bytes: int


class Engine(ABC):
    """Answers conversations. Use as a context manager or call `close`.

    `training_context` is what the model was trained for, in tokens. `fingerprint` changes with the model, its
    context parameters, template and adapters; a state fits only the engine whose fingerprint it was saved
    under. `can_keep_state` tells whether states work at all, `knows_context` whether the size of the context
    is more than a guess, `counts_exactly` whether counts of tokens are.
    """

    name: str
    training_context: int
    has_template: bool
    can_keep_state: bool
    knows_context: bool = True
    counts_exactly: bool = True

    @property
    @abstractmethod
    def context_size(self) -> int:
        """Return how many tokens the context holds now."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Return what states are bound to, in hexadecimal digits."""

    @property
    def opens_reasoning(self) -> bool:
        """Return whether answers begin inside of reasoning, because the template opens its tag."""
        return False

    @abstractmethod
    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        """Yield the answer to `messages` (role and content each) as it is generated.

        With `options.n` above 1 the chunks of the answers come interleaved, told apart by `index`. The last
        chunk of each answer carries its finish reason, the last of all the statistics; closing the iterator
        stops the generation. Raise GenerationError when the prompt does not fit or the template rejects it,
        UsageError for options that make no sense for this model.
        """

    @abstractmethod
    def count_tokens(self, messages: Messages) -> int:
        """Return how many tokens of context the prompt for `messages` takes."""

    @abstractmethod
    def count_text(self, text: str) -> int:
        """Return how many tokens `text` is, on its own."""

    @abstractmethod
    def effective(self, options: SamplingOptions) -> dict[str, Setting]:
        """Return every sampling option as it will be used, and where its value comes from."""

    @abstractmethod
    def interrupt(self) -> None:
        """End a running `stream` soon, with what it has; safe from a signal handler."""

    @abstractmethod
    def save_state(self, path: Path) -> StateInfo:
        """Write what has been read and said to the file `path`; the caller puts it in its place.

        Raise StateError when this model cannot keep its state, StorageError when the disk refuses.
        """

    @abstractmethod
    def load_state(self, path: Path) -> int:
        """Restore what `save_state` wrote and return the tokens it holds.

        Raise StateError when it is damaged, or of another engine; the engine then works as if new.
        """

    @abstractmethod
    def grow(self, context_size: int) -> bool:
        """Make the context at least `context_size` tokens large, keeping what it holds.

        Return False, and change nothing, when the model or the memory does not allow that.
        """

    @abstractmethod
    def close(self) -> None:
        """Free everything."""

    def answer(self, messages: Messages, options: SamplingOptions | None = None) -> Answer:
        """Return the whole answer to `messages`, the first of them when several are asked for."""
        return self.answers(messages, options)[0]

    def answers(self, messages: Messages, options: SamplingOptions | None = None) -> list[Answer]:
        """Return all of `options.n` answers to `messages`, in order."""
        options = options or SamplingOptions()
        texts = [""] * options.n
        reasons: list[FinishReason | None] = [None] * options.n
        statistics = None
        for chunk in self.stream(messages, options):
            texts[chunk.index] += chunk.text
            reasons[chunk.index] = chunk.finish_reason or reasons[chunk.index]
            statistics = chunk.statistics or statistics
        if statistics is None:
            raise AssertionError("a stream ended without statistics")
        return [
            Answer(text, reason or FinishReason.INTERRUPTED, statistics)
            for text, reason in zip(texts, reasons, strict=True)
        ]

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
