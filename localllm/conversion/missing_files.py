"""Fills gaps of a checkpoint directory: tokenizer files its saver forgot, from the base model."""

from __future__ import annotations

from pathlib import Path

from localllm.bases import find_base
from localllm.checkpoint import Checkpoint, stated_bases
from localllm.errors import NotFoundError
from localllm.events import Emit, Notice

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


def completed(checkpoint: Checkpoint, base: Path | None, emit: Emit) -> Checkpoint:
    """Return the checkpoint with the tokenizer files it lacks.

    From `base` everything missing is taken, the chat template, too. Without it only a missing tokenizer is
    looked for, in the base model that the model card or config.json names, if it is on this machine. Raise
    NotFoundError when `base` is not a directory.
    """
    if base is not None:
        if not base.is_dir():
            raise NotFoundError(
                f"no such directory: {base}", hint="`--base` takes the base model's directory"
            )
        return _from(checkpoint, base, emit)
    if _has_tokenizer(checkpoint):
        return checkpoint
    found = next(
        (place for name in stated_bases(checkpoint) if (place := find_base(name, checkpoint.directory))), None
    )
    if found is None or found.resolve() == checkpoint.directory.resolve():
        return checkpoint  # building the vocabulary will say what is missing
    return _from(checkpoint, found, emit)


def _has_tokenizer(checkpoint: Checkpoint) -> bool:
    return any(checkpoint.file(name) for name in _TOKENIZERS)


def _from(checkpoint: Checkpoint, base: Path, emit: Emit) -> Checkpoint:
    filled = checkpoint.completed_from(base)
    if _has_tokenizer(filled) and not _has_tokenizer(checkpoint):
        emit(
            Notice(
                f"the checkpoint has no tokenizer: taken from its base model, {base}",
                topic="tokenizer-files",
                fixed=True,
            )
        )
    return filled
