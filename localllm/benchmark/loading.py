"""How long a model takes to load, with its file in memory already and without."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localllm.gguf_file.split_names import model_files
from localllm.native.library import llama
from localllm.native.model import Model


@dataclass(frozen=True)
class LoadTimes:
    """Seconds; `cold` is None where the system cannot be asked to forget a file."""

    cold: float | None
    warm: float


def load_twice(path: Path) -> tuple[Model, LoadTimes]:
    """Load a model, first with its files dropped from the system's cache; return it loaded, and the times.

    "Cold" is no more than that: the disk has a cache of its own, and what other processes have mapped stays.
    """
    llama()  # loading the library itself is not the model's load time
    was_dropped = _drop_from_cache(model_files(path))
    model, first = _load(path)
    model.close()
    model, second = _load(path)
    return model, LoadTimes(first if was_dropped else None, second)


def _load(path: Path) -> tuple[Model, float]:
    started = time.perf_counter()
    model = Model(path)
    return model, time.perf_counter() - started


def _drop_from_cache(paths: Iterable[Path]) -> bool:
    """Ask the system to forget what it holds of files in memory; tell whether it can be asked."""
    if not hasattr(os, "posix_fadvise"):
        return False
    with suppress(OSError):
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
        return True
    return False
