"""`load`: an engine that answers conversations."""

from __future__ import annotations

from dataclasses import replace
from os import fspath

from localllm import pipeline
from localllm.engine import Engine, EngineOptions, LlamaEngine
from localllm.events import Emit, Notice, ignore
from localllm.library.usage import note_use
from localllm.store import resolve
from localllm.verbs.adapters import runnable_adapters
from localllm.verbs.pull import have
from localllm.verbs.references import Model


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
    path = pipeline.runnable_file(found, emit=emit)
    note_use(path)
    if options.adapters:
        options = replace(options, adapters=runnable_adapters(options.adapters, found, emit=emit))
    return LlamaEngine(path, options, emit=emit)
