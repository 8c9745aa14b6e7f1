"""Clients of a batched engine, and a way to look at its batches and to hold it up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from localllm.batching import BatchedEngine, Delta, GenerationRequest, Ticket, TokenChoice, Usage
from localllm.engine import EngineOptions, FinishReason, SamplingOptions
from localllm.errors import LocalLLMError
from localllm.native.context import Context, Piece

GREEDY = SamplingOptions(temperature=0, max_tokens=24)
# an answer that does not end by itself while a test lasts
ENDLESS = SamplingOptions(temperature=0, grammar='root ::= "a" root')
ROOMY = EngineOptions(context=4096)
_SECONDS = 60


class Client:
    """Asks once and gathers what comes."""

    def __init__(self, engine: BatchedEngine, request: GenerationRequest) -> None:
        self.texts: dict[int, str] = {}
        self.choices: dict[int, list[TokenChoice]] = {}
        self.reasons: dict[int, FinishReason] = {}
        self.ended_at: dict[int, float] = {}
        self.usage: Usage | None = None
        self.error: LocalLLMError | None = None
        self.deltas = 0
        self.first = threading.Event()
        self.over = threading.Event()
        self.ticket: Ticket = engine.submit(request, self.deliver, self.fail)

    @property
    def text(self) -> str:
        return self.texts[0]

    def deliver(self, delta: Delta) -> None:
        assert self.usage is None, "nothing comes after the usage"
        assert delta.index not in self.reasons, "nothing comes after the end of an answer"
        self.deltas += 1
        self.texts[delta.index] = self.texts.get(delta.index, "") + delta.text
        self.choices.setdefault(delta.index, []).extend(delta.choices)
        if delta.finish_reason is not None:
            self.reasons[delta.index] = delta.finish_reason
            self.ended_at[delta.index] = time.perf_counter()
        self.first.set()
        if delta.usage is not None:
            self.usage = delta.usage
            self.over.set()

    def fail(self, error: LocalLLMError) -> None:
        self.error = error
        self.over.set()

    def wait(self) -> Client:
        assert self.over.wait(_SECONDS), "no end in sight"
        return self


def chat(engine: BatchedEngine, text: str) -> tuple[int, ...]:
    return engine.chat_prompt([{"role": "user", "content": text}]).tokens


def ask(
    engine: BatchedEngine,
    prompt: str | Sequence[int],
    options: SamplingOptions = GREEDY,
    logprobs: int | None = None,
) -> Client:
    tokens = chat(engine, prompt) if isinstance(prompt, str) else tuple(prompt)
    return Client(engine, GenerationRequest(tokens, options, logprobs))


class Watch:
    """Stands in front of an engine's context: keeps the shape of each batch, and can hold it or have it fail.

    `batches` has (sequence, start, tokens) for each piece of each batch. `on_batch` is called before a batch
    is decoded, on the engine's thread.
    """

    def __init__(self, engine: BatchedEngine) -> None:
        context = engine._loaded.context
        assert context is not None
        self.batches: list[list[tuple[int, int, int]]] = []
        self.on_batch: Callable[[Sequence[Piece]], bool] = lambda pieces: True
        self._decode = context.decode_pieces
        self._open = threading.Event()
        self._open.set()
        self.held = threading.Event()
        context.decode_pieces = self.decode  # type: ignore[method-assign]

    def decode(self, pieces: Sequence[Piece]) -> bool:
        if not self._open.is_set():
            self.held.set()
            assert self._open.wait(_SECONDS)
        self.batches.append([(piece.sequence, piece.start, len(piece.tokens)) for piece in pieces])
        return self.on_batch(pieces) and self._decode(pieces)

    def hold(self) -> None:
        """Let no batch begin."""
        self.held.clear()
        self._open.clear()

    def go_on(self) -> None:
        self._open.set()


def read_logits(context: Context, tokens: Sequence[int]) -> Any:
    """Return the logits behind `tokens`."""
    context.clear()
    context.decode(list(tokens), start=0)
    return context.logits_at(-1).copy()
