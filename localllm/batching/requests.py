"""What goes into the batched engine and what comes out of it: requests, pieces of answers, counts."""

from __future__ import annotations

from dataclasses import dataclass

from localllm.batching.totals import Totals
from localllm.engine.chunks import FinishReason
from localllm.engine.options import SamplingOptions
from localllm.errors import UsageError

MOST_ALTERNATIVES = 20


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt to be continued.

    `logprobs` asks for the probability of each token of the answer, with so many alternatives (0 to 20);
    None asks for none. `shown` are texts of control tokens that show in the answer's text, others do not.
    Raise UsageError for another number.
    """

    prompt: tuple[int, ...]
    options: SamplingOptions
    logprobs: int | None = None
    shown: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.logprobs is not None and not 0 <= self.logprobs <= MOST_ALTERNATIVES:
            raise UsageError(f"logprobs must be between 0 and {MOST_ALTERNATIVES}, not {self.logprobs}")


@dataclass(frozen=True)
class TokenChoice:
    """One token of an answer: its bytes, which need not be whole characters, and its log-probability.

    The probabilities are those the model gives, before any sampling setting has its effect. `alternatives`
    are the most likely tokens (token, bytes, log-probability), the likeliest first; the chosen one may be
    among them.
    """

    token: int
    data: bytes
    logprob: float
    alternatives: tuple[tuple[int, bytes, float], ...] = ()


@dataclass(frozen=True)
class Usage:
    """What a request took; `cached_tokens` of the prompt were in the cache already.

    `completion_tokens` are those of all its answers together. The time to the first token counts from the
    submission, so it has the time in the queue.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    time_to_first_token_seconds: float
    generation_seconds: float


@dataclass(frozen=True)
class Delta:
    """What answer number `index` gained: whole characters, never a part of a stop text.

    `choices` has the tokens of the text when the request asked for probabilities. The last delta of each
    answer has its `finish_reason`, the last of the request also its `usage`.
    """

    index: int
    text: str
    choices: tuple[TokenChoice, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


@dataclass(frozen=True)
class Load:
    """What the engine is doing, and its `totals` since it was made."""

    slots: int
    busy_slots: int
    queued_requests: int
    totals: Totals


@dataclass(frozen=True)
class Embedding:
    """The vectors of texts, each of length 1, and how many tokens the texts have together."""

    vectors: list[list[float]]
    tokens: int
