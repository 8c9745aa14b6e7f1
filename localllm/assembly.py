"""What a model is made of before it is written: a checkpoint, and the adapters merged into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localllm.adapters import merged, open_adapter
from localllm.adapters.adapter import is_untrained
from localllm.checkpoint import Checkpoint, open_checkpoint
from localllm.dequantization import as_in_training, dequantized, quantization_method
from localllm.events import Emit, Notice, ignore


@dataclass(frozen=True)
class Recipe:
    """A checkpoint directory and adapter directories to merge into it, one after another, at `scale`.

    `as_in_training` rounds a 16-bit base's linear layers as QLoRA training did, before adapters are added.
    """

    base: Path
    adapters: tuple[Path, ...] = ()
    scale: float = 1.0
    as_in_training: bool = False


def assemble(recipe: Recipe, emit: Emit = ignore) -> Checkpoint:
    """Return the checkpoint `recipe` describes; its weights are computed while they are read.

    Nothing is read yet, but for a look whether an adapter was ever trained. Raise NotFoundError,
    CheckpointError, UnsupportedModelError or UsageError.
    """
    return with_adapters(open_base(recipe, emit), recipe, emit)


def open_base(recipe: Recipe, emit: Emit = ignore) -> Checkpoint:
    """Return the base of `recipe`, its weights dequantized, or rounded as in training."""
    opened = open_checkpoint(recipe.base)
    checkpoint = dequantized(opened)
    if any(tensor.is_derived for tensor in checkpoint.tensors.values()):
        emit(_dequantized_notice(opened))
    elif recipe.as_in_training:
        checkpoint = as_in_training(checkpoint)
    return checkpoint


def with_adapters(checkpoint: Checkpoint, recipe: Recipe, emit: Emit = ignore) -> Checkpoint:
    """Return `checkpoint` with the adapters of `recipe` merged in."""
    for directory in recipe.adapters:
        adapter = open_adapter(directory)
        if is_untrained(adapter):
            emit(Notice(f"{directory} changes nothing: all its lora_B are zero, as before training"))
        checkpoint = merged(checkpoint, adapter, recipe.scale)
    return checkpoint


def _dequantized_notice(checkpoint: Checkpoint) -> Notice:
    method = quantization_method(checkpoint.config) or "bitsandbytes"
    return Notice(
        f"the weights are quantized ({method}): they are read exactly, but quantizing cost precision before",
        hint="for the best result convert the unquantized model, if there is one",
        topic="quantized-source",
    )
