"""How long short prompts wait while a long one is read: on a clock that the batches themselves move on.

A batch of n tokens takes `step` + n * `token` seconds, as on a processor (tokens dear) or a GPU (cheap).
Nothing here depends on how fast or busy this machine is.
"""

from __future__ import annotations

import random
import statistics
import threading
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from localllm.batching import BatchedEngine, Delta, GenerationRequest, batcher
from localllm.native.context import Piece
from tests.batching.asking import GREEDY, Watch, ask

SHORT, LONG = 24, 2000
ONE_TOKEN = GREEDY.changed(max_tokens=1)


class Clock:
    """Moves on by what each batch would take; short requests come at random moments of the batches."""

    def __init__(
        self, engine: BatchedEngine, monkeypatch: pytest.MonkeyPatch, step: float, token: float
    ) -> None:
        self.now = 0.0
        self.waited: list[float] = []
        self._engine = engine
        self._step, self._token = step, token
        self._generator = random.Random(5)
        self._is_waiting = False
        self.comes = False
        self.done = threading.Event()
        Watch(engine).on_batch = self.move_on
        monkeypatch.setattr(batcher, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def seconds(self, tokens: int) -> float:
        return self._step + tokens * self._token

    def move_on(self, pieces: Sequence[Piece]) -> bool:
        seconds = self.seconds(sum(len(piece.tokens) for piece in pieces))
        if self.comes and not self._is_waiting:
            self.come(self.now + seconds * self._generator.random())
        self.now += seconds
        return True

    def come(self, now: float) -> None:
        self._is_waiting = True

        def deliver(delta: Delta) -> None:
            self.waited.append(self.now - now)
            self._is_waiting = False

        prompt = tuple(self._generator.randrange(20, 200) for _ in range(SHORT))
        self._engine.submit(GenerationRequest(prompt, ONE_TOKEN), deliver, lambda error: None)


@pytest.mark.parametrize(("step", "token"), [(0.05, 0.01), (0.2, 0.005), (0.003, 0.00003)])
def test_a_short_prompt_takes_twice_the_time_at_most(
    engine: BatchedEngine, monkeypatch: pytest.MonkeyPatch, step: float, token: float
) -> None:
    clock = Clock(engine, monkeypatch, step, token)
    generator = random.Random(1)
    for _ in range(4):  # until the pace is found
        ask(engine, [generator.randrange(20, 200) for _ in range(200)], GREEDY.changed(max_tokens=5)).wait()
    clock.comes = True
    ask(engine, [generator.randrange(20, 200) for _ in range(LONG)], ONE_TOKEN).wait()
    clock.comes = False
    alone = clock.seconds(SHORT)
    assert len(clock.waited) > 5
    allowed = max(2 * alone, alone + 0.01)
    assert statistics.mean(clock.waited) <= allowed
