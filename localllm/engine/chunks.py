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
    """Counts and speeds of one request; `cached_tokens` of the prompt were still in the cache.

    `completion_tokens` are those of all answers together, which are generated at the same time.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    time_to_first_token_seconds: float
    generation_seconds: float
    answers: int = 1

    @property
    def prompt_tokens_per_second(self) -> float:
        read = self.prompt_tokens - self.cached_tokens
        return read / self.time_to_first_token_seconds if self.time_to_first_token_seconds > 0 else 0.0

    @property
    def generation_tokens_per_second(self) -> float:
        """Return the speed after the first token of each answer."""
        later = self.completion_tokens - self.answers
        return later / self.generation_seconds if later > 0 and self.generation_seconds > 0 else 0.0


@dataclass(frozen=True)
class Chunk:
    """A piece of answer number `index`: whole characters only.

    The last chunk of each answer has its `finish_reason`, the last of all the `statistics`.
    """

    text: str
    index: int = 0
    finish_reason: FinishReason | None = None
    statistics: Statistics | None = None


@dataclass(frozen=True)
class Answer:
    """A finished answer; the statistics are those of its request."""

    text: str
    finish_reason: FinishReason
    statistics: Statistics
