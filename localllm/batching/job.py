"""A request while it is worked on: which of its answers have begun, what they took, whom to tell."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from localllm.batching.requests import GenerationRequest, Usage
from localllm.batching.ticket import Ticket
from localllm.native.sampler import SamplerSettings

if TYPE_CHECKING:
    from localllm.batching.answer import Answer


class Job:
    """Request `number`; of each answer the context may come to hold `longest` tokens, prompt included.

    `named` are the control tokens that show in the text.
    """

    def __init__(
        self,
        number: int,
        request: GenerationRequest,
        settings: Sequence[SamplerSettings],
        ticket: Ticket,
        context_size: int,
        named: frozenset[int],
    ) -> None:
        self.number = number
        self.ticket = ticket
        self.prompt = list(request.prompt)
        self.named = named
        self.stops = request.options.stop
        self.logprobs = request.logprobs
        # the last token of an answer is not decoded any more
        room = context_size - len(self.prompt) + 1
        self.limit = min(request.options.max_tokens or room, room)
        self.longest = len(self.prompt) + self.limit - 1
        self.waiting = deque(enumerate(settings))
        self.running: list[Answer] = []
        self.reader: Answer | None = None  # reads the prompt for the answers that begin meanwhile
        self.cached_tokens: int | None = None
        self.completion_tokens = 0
        self._submitted_at = time.perf_counter()
        self._first_at: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether one of its answers got a slot."""
        return self.cached_tokens is not None

    @property
    def is_done(self) -> bool:
        """Whether all answers have ended."""
        return not self.waiting and not self.running

    @property
    def age_seconds(self) -> float:
        """Return how long ago it was submitted."""
        return time.perf_counter() - self._submitted_at

    def note_first_token(self) -> None:
        """Remember when the first token came."""
        if self._first_at is None:
            self._first_at = time.perf_counter()

    def usage(self) -> Usage:
        """Return what it took until now."""
        now = time.perf_counter()
        first = self._first_at or now
        return Usage(
            prompt_tokens=len(self.prompt),
            cached_tokens=self.cached_tokens or 0,
            completion_tokens=self.completion_tokens,
            time_to_first_token_seconds=first - self._submitted_at,
            generation_seconds=now - first,
        )
