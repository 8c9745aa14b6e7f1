"""`load`: an engine that answers conversations."""

from __future__ import annotations

from os import fspath

from localllm import pipeline
from localllm.engine import Engine, LlamaEngine
from localllm.events import Emit, Notice, ignore
from localllm.store import (
    resolve,
)
from localllm.verbs.pull import have
from localllm.verbs.references import Model


def load(
    model: Model, *, context_size: int | None = None, threads: int | None = None, emit: Emit = ignore
) -> Engine:
    """Load a model and return an engine that answers conversations.

    A checkpoint is quantized into the library first. `context_size` is in tokens; None takes what
    the model was trained for, up to 8192.
    """
    have(model, emit=emit)
    found = resolve(fspath(model))
    if found.chosen:
        emit(Notice(f"using {found.name}:{found.level}; write another level behind the colon"))
    path = pipeline.runnable_file(found, emit=emit)
    return LlamaEngine(path, context_size=context_size, threads=threads)
