"""Speeds of a model that is really run, and the procedure: what is decoded, and from which cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.benchmark import job
from localllm.benchmark.job import benchmark_job
from localllm.benchmark.loading import load_twice
from localllm.benchmark.speed import SpeedTest, measure_speeds
from localllm.events import Advanced, Event, Finished, Started
from localllm.native.context import Context
from localllm.native.model import Model

TEST = SpeedTest(prompt_tokens=16, generated_tokens=4, depth=0, repetitions=3, threads=1)


def test_every_repetition_is_a_sample(narrow_gguf: Path) -> None:
    events: list[Event] = []
    with Model(narrow_gguf) as model:
        samples = measure_speeds(model, TEST, emit=events.append)
    assert len(samples.prompt) == len(samples.generation) == 3
    assert min(samples.prompt + samples.generation) > 0
    assert [event for event in events if isinstance(event, Started | Finished)] == [
        Started("pp16", 3, "repetitions"),
        Finished("pp16"),
        Started("tg4", 3, "repetitions"),
        Finished("tg4"),
    ]
    assert events[1] == Advanced("pp16", 1)


@pytest.mark.parametrize("depth", [0, 8])
def test_the_tokens_are_those_of_llama_bench(
    depth: int, narrow_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warm-up, then each repetition from the same cache: BOS first, a prompt at once, or token by token."""
    calls: list[tuple[int, int, int]] = []
    decode = Context.decode

    def spying(self: Context, tokens: list[int], *, start: int) -> None:
        calls.append((start, len(tokens), tokens[0]))
        decode(self, tokens, start=start)

    monkeypatch.setattr(Context, "decode", spying)
    with Model(narrow_gguf) as model:
        measure_speeds(model, SpeedTest(16, 4, depth, 2, 1))
        bos = model.bos
    before = [(0, depth)] if depth else []
    prompt = [*before, *[(depth, 16)] * 3]
    generation = [*before, (depth, 1), *[(depth + index, 1) for index in range(4)] * 2]
    assert [call[:2] for call in calls] == prompt + generation
    assert all(token == bos for start, _, token in calls if start == 0)


def test_loading_takes_time_twice(narrow_gguf: Path) -> None:
    model, times = load_twice(narrow_gguf)
    model.close()
    assert times.warm > 0
    assert times.cold is None or times.cold > 0


def test_the_cold_time_is_unknown_where_files_cannot_be_dropped(
    narrow_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.posix_fadvise", raising=False)
    model, times = load_twice(narrow_gguf)
    model.close()
    assert times.cold is None


@pytest.mark.parametrize(("busy", "spins"), [(0.1, True), (1.0, False)])
def test_the_job_returns_everything(
    narrow_gguf: Path, monkeypatch: pytest.MonkeyPatch, busy: float, spins: bool
) -> None:
    spun: list[bool] = []
    monkeypatch.setattr(job, "busy_cores", lambda _: busy)
    monkeypatch.setattr(job, "spin_as_openmp_does", lambda: spun.append(True))
    arguments = {"path": str(narrow_gguf), "repetitions": 2, "threads": 1, "depth": 0}
    found = benchmark_job({**arguments, "prompt_tokens": 8, "generated_tokens": 2}, lambda event: None)
    assert len(found["prompt_samples"]) == len(found["generation_samples"]) == 2
    assert found["load_seconds"] > 0
    assert found["peak_memory_bytes"] > narrow_gguf.stat().st_size
    assert found["was_idle"] is bool(spun) is spins
