"""`load`: an engine that answers conversations."""

from __future__ import annotations

from dataclasses import replace
from os import fspath
from pathlib import Path

from localllm.engine import Engine, EngineOptions, LlamaEngine
from localllm.events import Emit, Notice, ignore
from localllm.library.usage import note_use
from localllm.refs import Model
from localllm.store import Resolved, resolve
from localllm.verbs.pull import have


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
    have(model, emit=emit)
    found = resolve(fspath(model))
    if found.chosen:
        emit(Notice(f"using {found.name}:{found.level}; write another level behind the colon"))
    path = _runnable_file(found, emit)
    note_use(path)
    if options.adapters:
        from localllm.verbs.adapters import runnable_adapters  # with the converter

        options = replace(options, adapters=runnable_adapters(options.adapters, found, emit=emit))
    return LlamaEngine(path, options, emit=emit)


def _runnable_file(found: Resolved, emit: Emit) -> Path:
    """Return a GGUF file of what was found; only a checkpoint needs what quantizes, which is slow to load."""
    if not found.is_checkpoint:
        return found.path
    from localllm import pipeline

    return pipeline.runnable_file(found, emit=emit)
