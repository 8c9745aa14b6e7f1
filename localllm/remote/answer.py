"""The answers of a stream as they come in: texts, reasoning, why they ended, counts and times."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localllm.engine.chunks import Chunk, FinishReason, Statistics
from localllm.errors import GenerationError
from localllm.remote.connection import error_text

_OPEN, _CLOSE = "<think>\n", "\n</think>\n\n"  # as `reasoning` tells it from what is said
_REASONING = ("reasoning_content", "reasoning")
_DONE = "[DONE]"
_LENGTH = "length"


@dataclass
class _Voice:
    """One of the answers: why it ended, and whether it is in the middle of its reasoning."""

    reason: FinishReason | None = None
    reasons: bool = False
    pieces: int = 0


class AnswerReader:
    """Turns the events of one request into chunks. `host` is named in errors."""

    def __init__(self, host: str, count: int) -> None:
        self._host = host
        self.wanted = count
        self._voices = [_Voice() for _ in range(count)]
        self._started = time.perf_counter()
        self._first_at: float | None = None
        self._usage: Mapping[str, Any] = {}
        self.prompt_tokens: int | None = None

    @property
    def answers(self) -> int:
        """Return how many answers have begun."""
        return sum(voice.pieces > 0 for voice in self._voices)

    def read(self, event: str) -> Iterator[Chunk]:
        """Yield what an event brings. Raise GenerationError when it tells an error or makes no sense."""
        if event.strip() == _DONE:
            return
        try:
            data = json.loads(event)
        except (ValueError, RecursionError):
            raise GenerationError(f"{self._host} answers with something else than JSON") from None
        if not isinstance(data, dict):
            raise GenerationError(f"{self._host} answers with something else than the API's events")
        if data.get("error") or "choices" not in data:
            raise GenerationError(f"{self._host}: {error_text(event) or 'an error without a reason'}")
        yield from self.take(data)

    def take(self, data: Mapping[str, Any]) -> Iterator[Chunk]:
        """Yield what an event, or a whole answer, brings."""
        if isinstance(data.get("usage"), dict):
            self._usage = data["usage"]
            self.prompt_tokens = _count(self._usage.get("prompt_tokens"))
        choices = data.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            index = choice.get("index", 0) if isinstance(choice, dict) else None
            if not isinstance(index, int) or not 0 <= index < len(self._voices):
                continue
            voice = self._voices[index]
            said = choice.get("delta") or choice.get("message") or {}
            text = self._text(voice, said if isinstance(said, dict) else {})
            if text:
                voice.pieces += 1
                self._first_at = self._first_at or time.perf_counter()
                yield Chunk(text, index)
            ended = choice.get("finish_reason")
            if ended:
                voice.reason = FinishReason.LENGTH if ended == _LENGTH else FinishReason.STOP

    def last_chunks(self) -> Iterator[Chunk]:
        """Yield how each answer ended; one without a reason was interrupted."""
        statistics = self._statistics()
        for index, voice in enumerate(self._voices):
            is_last = index == len(self._voices) - 1
            text = _CLOSE if voice.reasons else ""
            reason = voice.reason or FinishReason.INTERRUPTED
            yield Chunk(text, index, reason, statistics if is_last else None)

    @property
    def is_complete(self) -> bool:
        """Tell whether every answer that began has ended."""
        begun = [voice for voice in self._voices if voice.pieces] or self._voices[:1]
        return all(voice.reason is not None for voice in begun)

    def _text(self, voice: _Voice, said: Mapping[str, Any]) -> str:
        """Return the text of an event, its reasoning between the tags that models put around it."""
        thought = next((said[key] for key in _REASONING if isinstance(said.get(key), str) and said[key]), "")
        content = said.get("content")
        content = content if isinstance(content, str) else ""
        text = ""
        if thought:
            text, voice.reasons = thought if voice.reasons else _OPEN + thought, True
        if content and voice.reasons:
            text, voice.reasons = text + _CLOSE, False
        return text + content

    def _statistics(self) -> Statistics:
        ended = time.perf_counter()
        first_at = self._first_at or ended
        details = self._usage.get("prompt_tokens_details")
        cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
        told = _count(self._usage.get("completion_tokens")) or 0  # llama-server tells those of one answer
        prompt = self.prompt_tokens or 0
        return Statistics(
            prompt_tokens=prompt,
            cached_tokens=min(cached or 0, prompt),
            completion_tokens=max(told, sum(voice.pieces for voice in self._voices)),
            time_to_first_token_seconds=first_at - self._started,
            generation_seconds=ended - first_at,
            answers=max(self.answers, 1),
        )


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
