"""What a generation yields: text as it comes, and at the end why it stopped and how fast it was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FinishReason(StrEnum):
    """Why an answer ended: the model or a stop text, the token limit, or the user."""

    STOP = "stop"
    LENGTH = "length"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Statistics:
    """Counts and speeds of one answer; `cached_tokens` of the prompt were still in the cache."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    time_to_first_token_seconds: float
    generation_seconds: float

    @property
    def prompt_tokens_per_second(self) -> float:
        read = self.prompt_tokens - self.cached_tokens
        return read / self.time_to_first_token_seconds if self.time_to_first_token_seconds > 0 else 0.0

    @property
    def generation_tokens_per_second(self) -> float:
        """Return the speed after the first token."""
        later = self.completion_tokens - 1
        return later / self.generation_seconds if later > 0 and self.generation_seconds > 0 else 0.0


@dataclass(frozen=True)
class Chunk:
    """A piece of an answer: whole characters only. The last one has a `finish_reason` and `statistics`."""

    text: str
    finish_reason: FinishReason | None = None
    statistics: Statistics | None = None


@dataclass(frozen=True)
class Answer:
    """A finished answer."""

    text: str
    finish_reason: FinishReason
    statistics: Statistics
