"""An engine that says what it is told to: the server's double of `BatchedEngine`, for faults and for speed.

Its tokens are letters. Answers are delivered from a thread of its own, letter by letter; `hold` makes it wait
before each until `go_on` is set, `failure` makes it fail behind the first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localllm.batching import Delta, Embedding, GenerationRequest, Load, Prompt, TokenChoice, Totals, Usage
from localllm.engine import FinishReason
from localllm.errors import LocalLLMError, PromptTooLongError, UnavailableError


@dataclass
class DoubleTicket:
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class DoubleEngine:
    """Answers every request with `answer`; `refusal` is raised instead, where there is one."""

    answer: str = "Hello."
    template: str | None = "{{ messages }}"
    takes_tools: bool = False
    opens_reasoning: bool = False
    context_size: int = 100_000
    refusal: LocalLLMError | None = None
    failure: Exception | None = None
    hold: bool = False
    path: Path = Path("double.gguf")
    fingerprint: str = "0" * 32
    go_on: threading.Event = field(default_factory=threading.Event)
    asked: list[GenerationRequest] = field(default_factory=list)
    tickets: list[DoubleTicket] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)
    closed_with: float | None = None

    @property
    def load(self) -> Load:
        busy = sum(not ticket.cancelled for ticket in self.tickets)
        return Load(4, busy, 0, Totals(requests=len(self.asked)))

    def chat_prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> Prompt:
        self.told.append({"messages": list(messages), "tools": tools, "variables": variables})
        text = "".join(str(message["content"]) for message in messages) or " "
        return Prompt(self.text_prompt(text), self.opens_reasoning)

    def text_prompt(self, text: str) -> tuple[int, ...]:
        tokens = tuple(map(ord, text))
        if len(tokens) >= self.context_size:
            raise PromptTooLongError(f"the prompt takes {len(tokens)} tokens")
        return tokens

    embedding_prompt = text_prompt

    def token_prompt(self, tokens: Sequence[int]) -> tuple[int, ...]:
        return tuple(tokens)

    def text_of(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens))

    def submit(
        self,
        request: GenerationRequest,
        deliver: Callable[[Delta], None],
        fail: Callable[[LocalLLMError], None],
    ) -> DoubleTicket:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(request)
        self.tickets.append(DoubleTicket())
        arguments = (request, self.tickets[-1], deliver, fail)
        threading.Thread(target=self._speak, args=arguments, daemon=True).start()
        return self.tickets[-1]

    def embed(self, prompts: Sequence[Sequence[int]]) -> Embedding:
        return Embedding([[1.0, 0.0, -0.5] for _ in prompts], sum(map(len, prompts)))

    def close(self, grace_seconds: float = 0.0) -> None:
        self.closed_with = grace_seconds

    def _speak(
        self,
        request: GenerationRequest,
        ticket: DoubleTicket,
        deliver: Callable[[Delta], None],
        fail: Callable[[LocalLLMError], None],
    ) -> None:
        limit = request.options.max_tokens or len(self.answer)
        for letter in self.answer[:limit]:
            while self.hold and not self.go_on.wait(0.01):
                if ticket.cancelled or self.closed_with is not None:
                    break
            if self.closed_with is not None:
                fail(UnavailableError("the engine is stopping"))
                return
            if ticket.cancelled:
                return
            choices = (
                (TokenChoice(ord(letter), letter.encode(), -0.5),) if request.logprobs is not None else ()
            )
            for index in range(request.options.n):
                deliver(Delta(index, letter, choices))
            if isinstance(self.failure, LocalLLMError):
                fail(self.failure)
                return
        reason = FinishReason.LENGTH if limit < len(self.answer) else FinishReason.STOP
        for index in range(request.options.n):
            last = index == request.options.n - 1
            usage = Usage(len(request.prompt), 0, limit, 0.1, 0.2) if last else None
            deliver(Delta(index, "", (), reason, usage))
        ticket.cancelled = True  # no longer busy
