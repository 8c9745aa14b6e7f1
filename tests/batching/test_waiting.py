"""How long short prompts wait while a long one is read: on a clock that the batches themselves move on.

A batch of n tokens takes `step` + n * `token` seconds, as on a processor (tokens dear) or a GPU (cheap); on a
processor a batch that is interrupted ends at once, on a GPU it goes on.
Nothing here depends on how fast or busy this machine is.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from localllm.batching import BatchedEngine, Delta, GenerationRequest, batcher
from localllm.native.context import InterruptedDecodeError, Piece
from tests.batching.asking import GREEDY, ROOMY, Client, Watch, ask

SHORT, LONG = 24, 2000
ONE_TOKEN = GREEDY.changed(max_tokens=1)


class Clock:
    """Moves on by what each batch would take; short requests come at random moments of the batches."""

    def __init__(
        self,
        engine: BatchedEngine,
        monkeypatch: pytest.MonkeyPatch,
        step: float,
        token: float,
        *,
        can_interrupt: bool,
    ) -> None:
        self.now = 0.0
        self.waited: list[float] = []
        self.broken_off = 0
        self._engine = engine
        self._step, self._token = step, token
        self._generator = random.Random(5)
        self._is_waiting = self._is_interrupted = False
        self.comes = False
        Watch(engine).on_batch = self.move_on
        context = engine._loaded.context
        assert context is not None
        if can_interrupt:
            monkeypatch.setattr(context, "interrupt", self.interrupt)
        monkeypatch.setattr(batcher, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def seconds(self, tokens: int) -> float:
        return self._step + tokens * self._token

    def move_on(self, pieces: Sequence[Piece]) -> bool:
        seconds = self.seconds(sum(len(piece.tokens) for piece in pieces))
        ends = self.now + seconds
        self._is_interrupted = False
        if self.comes and not self._is_waiting:
            self.now += seconds * self._generator.random()
            self.come(self.now)
        if self._is_interrupted:
            self.broken_off += 1
            raise InterruptedDecodeError
        self.now = ends
        return True

    def interrupt(self) -> None:
        self._is_interrupted = True

    def come(self, now: float) -> None:
        self._is_waiting = True

        def deliver(delta: Delta) -> None:
            self.waited.append(self.now - now)
            self._is_waiting = False

        prompt = tuple(self._generator.randrange(20, 200) for _ in range(SHORT))
        self._engine.submit(GenerationRequest(prompt, ONE_TOKEN), deliver, lambda error: None)


@pytest.mark.parametrize(
    ("step", "token", "can_interrupt"), [(0.05, 0.01, True), (0.2, 0.005, True), (0.003, 0.00003, False)]
)
def test_a_short_prompt_takes_twice_the_time_at_most(
    engine: BatchedEngine, monkeypatch: pytest.MonkeyPatch, step: float, token: float, can_interrupt: bool
) -> None:
    clock = Clock(engine, monkeypatch, step, token, can_interrupt=can_interrupt)
    generator = random.Random(1)
    for _ in range(4):  # until the pace is found
        ask(engine, [generator.randrange(20, 200) for _ in range(200)], GREEDY.changed(max_tokens=5)).wait()
    clock.comes = True
    ask(engine, [generator.randrange(20, 200) for _ in range(LONG)], ONE_TOKEN).wait()
    clock.comes = False
    alone = clock.seconds(SHORT)
    assert len(clock.waited) > 5
    assert bool(clock.broken_off) is can_interrupt
    assert len(clock.waited) <= 2 * LONG / SHORT + 10, "the long one gets on"
    allowed = max(2 * alone, alone + 0.01)
    assert statistics.mean(clock.waited) <= allowed


def test_what_is_broken_off_changes_no_answer(
    engine: BatchedEngine, demo_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here llama.cpp itself breaks off, in each batch in which a short prompt comes."""
    context = engine._loaded.context
    assert context is not None
    generator = random.Random(2)
    long, *short = (
        tuple(generator.randrange(20, 200) for _ in range(length)) for length in [LONG, *[SHORT] * 24]
    )
    options = GREEDY.changed(max_tokens=6)
    with BatchedEngine(demo_path, ROOMY) as other:
        alone = {prompt: ask(other, prompt, options).wait().text for prompt in [*short, long]}
    came: dict[tuple[int, ...], Client] = {}
    interrupt, let_stop = context.interrupt, context._let_stop
    interruptions: list[bool] = []

    def come(pieces: Sequence[Piece]) -> bool:
        if short and len(pieces) == 1 and len(pieces[0].tokens) >= SHORT:
            prompt = short.pop()
            came[prompt] = ask(engine, prompt, options)
        return True

    def begin(can_stop: bool) -> None:
        let_stop(can_stop)
        if interruptions and not interruptions[-1]:
            interruptions[-1] = True
            interrupt()

    Watch(engine).on_batch = come
    monkeypatch.setattr(context, "interrupt", lambda: interruptions.append(False))
    monkeypatch.setattr(context, "_let_stop", begin)
    assert ask(engine, long, options).wait().text == alone[long]
    assert len(interruptions) >= 3, len(came)
    assert {prompt: client.wait().text for prompt, client in came.items()}.items() <= alone.items()
    monkeypatch.undo()
