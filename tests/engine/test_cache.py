"""Whether using what the cache still holds changes anything: whole, windowed, with a state; interrupted."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from localllm.engine import EngineOptions, FinishReason, LlamaEngine, SamplingOptions
from localllm.native.context import Context, InterruptedDecodeError
from tests.engine.tiny_models import build_hybrid, build_mamba, build_windowed

GREEDY = SamplingOptions(temperature=0, max_tokens=12)
LONG = EngineOptions(context=4096)  # more than the models were trained for: windows are left behind


@pytest.fixture(scope="module", params=["demo", "windowed", "mamba", "hybrid"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "windowed":
        return build_windowed(directory)
    if request.param == "mamba":
        return build_mamba(directory / "mamba.gguf")
    if request.param == "hybrid":
        return build_hybrid(directory / "hybrid.gguf")
    found: Path = request.getfixturevalue("demo_path")
    return found


@pytest.fixture
def engine(path: Path) -> Iterator[LlamaEngine]:
    with LlamaEngine(path, LONG) as engine:
        yield engine


@pytest.fixture
def fresh(path: Path) -> Iterator[LlamaEngine]:
    with LlamaEngine(path, LONG) as engine:
        yield engine


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def letters(count: int, seed: int = 0) -> str:
    generator = random.Random(seed)
    return "".join(generator.choice("abcdefgh ") for _ in range(count))


def answer(engine: LlamaEngine, text: str) -> str:
    return engine.answer(ask(text), GREEDY).text


def read(engine: LlamaEngine, tokens: Sequence[int]) -> tuple[int, NDArray[np.float32]]:
    """Bring the cache to hold `tokens`; return how many it had, and the last logits."""
    known = engine._workspace.read(tokens, lambda: False)
    return known, engine._workspace.context.logits_at(-1).copy()


def assert_alike(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    """Batches cut at other places add up in another order, hence not equal."""
    assert np.corrcoef(ours, theirs)[0, 1] > 0.999
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max() + 0.1


def test_going_back_any_distance_changes_nothing(engine: LlamaEngine, fresh: LlamaEngine) -> None:
    text = letters(1500)
    for kept in (1499, 1450, 1000, 700, 20, 0):
        read(engine, engine._prompts.tokens(ask(text)))
        fresh._workspace.clear()
        changed = engine._prompts.tokens(ask(text[:kept] + letters(25, seed=kept + 1)))
        assert_alike(read(engine, changed)[1], read(fresh, changed)[1])


def test_going_on_reads_only_what_is_new(engine: LlamaEngine, fresh: LlamaEngine) -> None:
    first = engine.answer(ask(letters(900)), GREEDY)
    assert first.statistics.cached_tokens == 0
    held = list(engine._workspace.tokens)
    known, logits = read(engine, [*held, 5, 6, 7])
    assert known == len(held)
    assert_alike(logits, read(fresh, [*held, 5, 6, 7])[1])


def test_several_answers_share_what_was_read(engine: LlamaEngine) -> None:
    text = letters(700)
    alone = answer(engine, text)
    together = engine.answers(ask(text), GREEDY.changed(n=3))
    assert {each.text for each in together} == {alone}
    assert answer(engine, text) == alone


def test_an_interrupted_prompt_leaves_a_usable_engine(engine: LlamaEngine, fresh: LlamaEngine) -> None:
    prompt = letters(2000)
    stream = engine.stream(ask(prompt), GREEDY)
    timer = threading.Timer(0.01, engine.interrupt)
    timer.start()
    chunks = list(stream)
    timer.join()
    assert chunks[-1].finish_reason in (FinishReason.INTERRUPTED, FinishReason.LENGTH, FinishReason.STOP)
    assert chunks[-1].statistics is not None
    assert answer(engine, prompt) == answer(fresh, prompt)


def test_interrupting_before_anything_is_read(engine: LlamaEngine, fresh: LlamaEngine) -> None:
    answer(engine, "abc")
    stream = engine.stream(ask(letters(1000)), GREEDY)
    engine.interrupt()
    chunks = list(stream)
    assert [chunk.finish_reason for chunk in chunks] == [FinishReason.INTERRUPTED]
    assert answer(engine, "abd") == answer(fresh, "abd")


def test_an_aborted_batch_is_not_taken_for_read(engine: LlamaEngine, fresh: LlamaEngine) -> None:
    """The flag is up already when the second batch begins: llama.cpp gives up in the middle of it."""
    workspace = engine._workspace
    prompt = engine._prompts.tokens(ask(letters(1200)))
    batches = 0

    def after_the_first() -> bool:
        nonlocal batches
        batches += 1
        if batches == 2:
            workspace.context._run = _run_stopped(workspace.context)  # type: ignore[method-assign]
        return False

    with pytest.raises(InterruptedDecodeError):
        workspace.read(prompt, after_the_first)
    del workspace.context._run  # type: ignore[method-assign]
    _, last = workspace.context.held_positions()
    assert last + 1 == len(workspace.tokens) <= 512
    assert answer(engine, letters(1200)) == answer(fresh, letters(1200))


def _run_stopped(context: Context) -> Callable[[], None]:
    def run() -> None:
        context._stop.value = True
        status = context._library.llama_decode(context._handle, context._batch.structure)
        assert status == 2
        raise InterruptedDecodeError

    return run


def test_ctrl_c_works_through_a_signal(engine: LlamaEngine) -> None:
    before = signal.signal(signal.SIGINT, lambda *_: engine.interrupt())
    try:
        stream = engine.stream(ask(letters(1500)), SamplingOptions(temperature=0))
        threading.Timer(0.02, signal.raise_signal, [signal.SIGINT]).start()
        started = time.monotonic()
        reasons = [chunk.finish_reason for chunk in stream]
    finally:
        signal.signal(signal.SIGINT, before)
    assert reasons[-1] in (FinishReason.INTERRUPTED, FinishReason.STOP)
    assert time.monotonic() - started < 30


def test_batches_become_smaller_where_an_operation_takes_long(demo_path: Path) -> None:
    with LlamaEngine(demo_path) as engine:
        workspace = engine._workspace
        assert workspace._batch_tokens == 512
        workspace._largest_share = 0.1
        workspace._pace(512, 10.0)  # one of ten seconds: too long to wait for
        assert workspace._batch_tokens == 256
        workspace._pace(100, 10.0)  # not a whole batch: says nothing
        assert workspace._batch_tokens == 256
        workspace._pace(256, 0.2)
        assert workspace._batch_tokens == 512
