"""Logits of tiny checkpoints: what llama.cpp computes from our conversion, and what transformers computed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localllm.assembly import Recipe
from localllm.conversion.convert import convert
from localllm.conversion.out_type import OutType
from localllm.native.context import Context
from localllm.native.model import Model
from tests.conversion.tiny_families import SHAPES

# 40 positions, more than twice the sliding windows of the tiny models
TOKENS = [(7 * position * position + 3 * position + 5) % 250 for position in range(40)]


def runtime_logits(checkpoint: Path, adapters: Sequence[Path] = ()) -> NDArray[np.float32]:
    """Convert to F32 and run TOKENS in llama.cpp, with attention in float32.

    Return logits of shape (positions, vocabulary).
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        convert(Recipe(checkpoint, tuple(adapters)), output=path, out_type=OutType.F32)
        return logits_of(path)


def logits_of(path: Path) -> NDArray[np.float32]:
    """Run TOKENS in llama.cpp, with attention in float32; return logits of shape (positions, vocabulary)."""
    with Model(path) as model, Context(model, context_size=64, threads=1, exact=True) as context:
        context.decode(TOKENS, start=0, logits_from=0)
        return np.array(context.kept_logits(len(TOKENS)))


def load_golden(name: str) -> NDArray[np.float32]:
    """Return the logits transformers computed for a family's checkpoint."""
    with np.load(SHAPES / f"{name}.npz") as stored:
        logits: NDArray[np.float32] = stored["logits"]
    return logits


def relative_difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest difference of two logits as a share of the expected logits' range."""
    return float(np.abs(found - expected).max() / np.ptp(expected))
