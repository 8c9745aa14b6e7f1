"""Everything a child process measures of one file but its quality: load times, speeds, peak memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localllm.benchmark.loading import load_twice
from localllm.benchmark.speed import SpeedTest, measure_speeds
from localllm.events import Emit
from localllm.machine import busy_cores, peak_memory_bytes
from localllm.native.library import spin_as_openmp_does

_LOOK_SECONDS = 0.3
_IDLE_CORES = 0.25  # less than this is what a desktop does while nobody touches it


def benchmark_job(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Measure the file `path`; the other arguments are those of `SpeedTest`. For `native.worker.run_job`.

    Return `load_seconds`, `cold_load_seconds` (or None), `prompt_samples` and `generation_samples` in tokens
    per second, `peak_memory_bytes`, all that this process ever had resident, and `was_idle`: nothing else was
    using the machine. Then threads wait for each other as they do in llama-bench.
    """
    was_idle = busy_cores(_LOOK_SECONDS) < _IDLE_CORES
    if was_idle:
        spin_as_openmp_does()
    test = SpeedTest(**{name: value for name, value in arguments.items() if name != "path"})
    model, times = load_twice(Path(arguments["path"]))
    with model:
        samples = measure_speeds(model, test, emit=emit)
    return {
        "load_seconds": times.warm,
        "cold_load_seconds": times.cold,
        "prompt_samples": list(samples.prompt),
        "generation_samples": list(samples.generation),
        "peak_memory_bytes": peak_memory_bytes(),
        "was_idle": was_idle,
    }
