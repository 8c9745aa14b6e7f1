"""An engine that says what it is told to: for tests and for trying out what is built on engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from localllm.engine.base import Engine, Messages
from localllm.engine.chunks import Chunk, FinishReason, Statistics
from localllm.engine.options import SamplingOptions
from localllm.engine.stopping import StopFilter


class ScriptedEngine(Engine):
    """Answers with `answers` in turn, word by word; a token is a word. `seen` keeps every request."""

    def __init__(self, answers: Sequence[str], *, context_size: int = 4096) -> None:
        self.name = "scripted"
        self.context_size = context_size
        self.has_template = True
        self.seen: list[list[dict[str, str]]] = []
        self._answers = list(answers)
        self._interrupted = False

    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        self.seen.append([{"role": str(m["role"]), "content": str(m["content"])} for m in messages])
        self._interrupted = False
        words = self._answers[(len(self.seen) - 1) % len(self._answers)].split(" ")
        limit = options.max_tokens or len(words)
        stops = StopFilter(options.stop)
        reason = FinishReason.STOP if limit >= len(words) else FinishReason.LENGTH
        for index, word in enumerate(words[:limit]):
            if self._interrupted or stops.stopped:
                break
            yield Chunk(stops.feed(word if index == 0 else " " + word))
        if self._interrupted:
            reason = FinishReason.INTERRUPTED
        statistics = Statistics(self.count_tokens(messages), 0, min(limit, len(words)), 0.0, 0.0)
        yield Chunk(stops.flush(), FinishReason.STOP if stops.stopped else reason, statistics)

    def count_tokens(self, messages: Messages) -> int:
        return sum(len(str(message["content"]).split()) for message in messages)

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        return
