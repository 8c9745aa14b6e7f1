"""Seeded matrices for the NF4 round trip: whole blocks, blocks that cross rows, a block of zeros.

None has a scale in the middle of two 8-bit codes, where bitsandbytes' own routines disagree
(docs/decisions/0007-quantized-sources.md).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Checkpoint, DerivedTensor, Tensor
from localllm.checkpoint.numbers import as_float32
from localllm.dequantization import as_in_training
from tests.conversion.tiny_llama import cast, draw_weights

GOLDEN = Path(__file__).parent / "golden" / "round_trips.json"
NAME = "model.layers.0.mlp.up_proj.weight"


@dataclass(frozen=True)
class RoundTrip:
    """A matrix of `dtype`; the first `zeros` weights are zero."""

    shape: tuple[int, int]
    dtype: str
    zeros: int = 0

    def weights(self) -> NDArray[np.float32]:
        """Return the matrix, every value exact in `dtype`."""
        values = draw_weights(np.random.PCG64(zlib.crc32(repr(self.shape).encode())), self.shape)
        values.reshape(-1)[: self.zeros] = 0
        return as_float32(cast(values, self.dtype), self.dtype)

    def tensor(self) -> Tensor:
        """Return the matrix as training saw it."""
        return in_training(self.weights(), self.dtype)


CASES = {
    "rows": RoundTrip((96, 64), "BF16"),
    "float16": RoundTrip((48, 192), "F16"),
    "crossing": RoundTrip((50, 100), "BF16"),
    "nested": RoundTrip((130, 256), "BF16"),
}


def in_training(weights: NDArray[np.float32], dtype: str) -> Tensor:
    """Return a linear layer's weights rounded to NF4 and back."""
    stored = DerivedTensor(NAME, "F32", weights.shape, dtype, lambda first, n: weights[first : first + n])
    return as_in_training(Checkpoint(Path(), {}, {NAME: stored})).tensors[NAME]
