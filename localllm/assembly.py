"""What a model is made of before it is written: a checkpoint, and the adapters merged into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localllm.adapters import merged, open_adapter
from localllm.adapters.adapter import is_untrained
from localllm.checkpoint import Checkpoint, open_checkpoint
from localllm.events import Emit, Notice, ignore


@dataclass(frozen=True)
class Recipe:
    """A checkpoint directory and adapter directories to merge into it, one after another, at `scale`."""

    base: Path
    adapters: tuple[Path, ...] = ()
    scale: float = 1.0


def assemble(recipe: Recipe, emit: Emit = ignore) -> Checkpoint:
    """Return the checkpoint `recipe` describes; its weights are computed while they are read.

    Nothing is read yet, but for a look whether an adapter was ever trained. Raise NotFoundError,
    CheckpointError, UnsupportedModelError or UsageError.
    """
    checkpoint = open_checkpoint(recipe.base)
    for directory in recipe.adapters:
        adapter = open_adapter(directory)
        if is_untrained(adapter):
            emit(Notice(f"{directory} changes nothing: all its lora_B are zero, as before training"))
        checkpoint = merged(checkpoint, adapter, recipe.scale)
    return checkpoint
