"""`load` and `load_batched`: engines that answer conversations, one at a time or many at once."""

from __future__ import annotations

from dataclasses import replace
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING

from localllm.engine import Engine, EngineOptions, LlamaEngine
from localllm.events import Emit, Notice, ignore
from localllm.library.usage import note_use
from localllm.refs import Model
from localllm.store import Resolved, resolve
from localllm.verbs.pull import have

if TYPE_CHECKING:
    from localllm.batching import BatchedEngine


def load(
    model: Model,
    *,
    options: EngineOptions = EngineOptions(),  # noqa: B008 (frozen)
    emit: Emit = ignore,
) -> Engine:
    """Load a model and return an engine that answers conversations.

    A checkpoint is quantized into the library first. The adapters of `options` may also be PEFT directories
    or names in the library, which are converted.
    """
    path, options = _runnable(model, options, emit)
    return LlamaEngine(path, options, emit=emit)


def load_batched(
    model: Model,
    *,
    options: EngineOptions = EngineOptions(),  # noqa: B008 (frozen)
    parallel: int = 4,
    queue: int = 64,
    emit: Emit = ignore,
) -> BatchedEngine:
    """Load a model as `load` does and return an engine that answers `parallel` requests at once.

    `queue` more may wait; `options.context` is what one of them may take.
    """
    from localllm.batching import BatchedEngine  # slow to import, and only a server needs it

    path, options = _runnable(model, options, emit)
    return BatchedEngine(path, options, parallel=parallel, queue=queue, emit=emit)


def _runnable(model: Model, options: EngineOptions, emit: Emit) -> tuple[Path, EngineOptions]:
    """Return the GGUF file of a model, made if there is none, and `options` with adapters that it takes."""
    have(model, emit=emit)
    found = resolve(fspath(model))
    if found.chosen:
        emit(Notice(f"using {found.name}:{found.level}; write another level behind the colon"))
    path = _runnable_file(found, emit)
    note_use(path)
    if options.adapters:
        from localllm.verbs.adapters import runnable_adapters  # with the converter

        options = replace(options, adapters=runnable_adapters(options.adapters, found, emit=emit))
    return path, options


def _runnable_file(found: Resolved, emit: Emit) -> Path:
    """Return a GGUF file of what was found; only a checkpoint needs what quantizes, which is slow to load."""
    if not found.is_checkpoint:
        return found.path
    from localllm import pipeline

    return pipeline.runnable_file(found, emit=emit)
