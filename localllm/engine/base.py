"""What every engine can do, so that chat and tests do not care which one they have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from localllm.engine.chunks import Answer, Chunk
from localllm.engine.options import SamplingOptions

Messages = Sequence[Mapping[str, Any]]


class Engine(ABC):
    """Answers conversations. Use as a context manager or call `close`."""

    name: str
    context_size: int
    has_template: bool

    @abstractmethod
    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        """Yield the answer to `messages` (role and content each) as it is generated.

        The last chunk carries the finish reason and statistics; closing the iterator stops the
        generation. Raise GenerationError when the prompt does not fit or the template rejects it.
        """

    @abstractmethod
    def count_tokens(self, messages: Messages) -> int:
        """Return how many tokens of context the prompt for `messages` takes."""

    @abstractmethod
    def interrupt(self) -> None:
        """End a running `stream` soon, with what it has; safe from a signal handler."""

    @abstractmethod
    def close(self) -> None:
        """Free everything."""

    def answer(self, messages: Messages, options: SamplingOptions | None = None) -> Answer:
        """Return the whole answer to `messages`."""
        parts: list[str] = []
        for chunk in self.stream(messages, options or SamplingOptions()):
            parts.append(chunk.text)
            if chunk.finish_reason is not None and chunk.statistics is not None:
                return Answer("".join(parts), chunk.finish_reason, chunk.statistics)
        raise AssertionError("a stream ended without a finish reason")

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
