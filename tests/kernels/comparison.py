"""Quantizes the same weights with kernels and with ggml, and counts the blocks that differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.kernels import LIBRARY
from localllm.native.kernels import Kernels, instructions_of, open_library
from localllm.native.library import ggml
from tests.kernels.patterns import PATTERNS, Shape, importances


@dataclass(frozen=True)
class Difference:
    """How many of the blocks that `instructions` made are not ggml's."""

    instructions: str
    pattern: str
    shape: Shape
    with_importance: bool
    blocks: int
    differing: int


def compare(
    kind: str,
    found: Sequence[Kernels],
    pattern: str,
    random: np.random.Generator,
    shape: Shape,
    *,
    with_importance: bool,
) -> list[Difference]:
    """Quantize a pattern with each of `found`, leaving out those that do not know how."""
    type_ = TENSOR_TYPES_BY_NAME[kind]
    rows = np.ascontiguousarray(PATTERNS[pattern](random, shape), dtype=np.float32)
    importance = importances(random, shape[1]) if with_importance else None
    blocks = (-1, type_.block_bytes)
    theirs = np.zeros((shape[0], type_.row_bytes(shape[1])), dtype=np.uint8)
    weights = None if importance is None else importance.ctypes.data
    ggml().ggml_quantize_chunk(type_.id, rows.ctypes.data, theirs.ctypes.data, 0, *shape, weights)
    differences = []
    for kernels in found:
        own = np.zeros_like(theirs)
        if not kernels.encode_rows(rows, type_, own, importance):
            continue
        wrong = (own.reshape(blocks) != theirs.reshape(blocks)).any(axis=1)
        counts = (wrong.size, int(wrong.sum()))
        differences.append(Difference(kernels.name, pattern, shape, with_importance, *counts))
    return differences


def instructions_here() -> tuple[str, ...]:
    """Return the instruction sets that the library, if it was built, has for this processor."""
    return instructions_of(open_library(LIBRARY)) if LIBRARY.exists() else ()
