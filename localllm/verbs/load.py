"""`load`: an engine that answers conversations."""

from __future__ import annotations

from dataclasses import replace
from os import fspath

from localllm import pipeline
from localllm.engine import Engine, EngineOptions, LlamaEngine
from localllm.events import Emit, Notice, ignore
from localllm.library.usage import note_use
from localllm.store import resolve
from localllm.verbs.pull import have
from localllm.verbs.references import Model


def load(
    model: Model,
    *,
    options: EngineOptions = EngineOptions(),  # noqa: B008 (frozen)
    context_size: int | None = None,
    threads: int | None = None,
    emit: Emit = ignore,
) -> Engine:
    """Load a model and return an engine that answers conversations.

    A checkpoint is quantized into the library first.
    """
    if context_size or threads:  # until the command line gives options
        options = replace(options, context=context_size, threads=threads)
    have(model, emit=emit)
    found = resolve(fspath(model))
    if found.chosen:
        emit(Notice(f"using {found.name}:{found.level}; write another level behind the colon"))
    path = pipeline.runnable_file(found, emit=emit)
    note_use(path)
    return LlamaEngine(path, options)
