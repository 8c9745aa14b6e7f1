"""The verbs a family table may apply to a tensor: pure functions on numpy arrays.

Each works on arrays in row-major order. A verb that only moves elements (`moves_only`) works on any
dtype, so that a bfloat16 tensor can pass through without arithmetic; all others get float32. One that
treats each element by itself (`elementwise`) may be given a tensor in pieces; one that `swaps_axes`
turns rows into columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.conversion.config import ModelConfig


@dataclass(frozen=True)
class Op:
    """A named verb: `apply(array, config)` returns the transformed array."""

    name: str
    apply: Callable[[NDArray[Any], ModelConfig], NDArray[Any]]
    moves_only: bool = False
    elementwise: bool = False
    swaps_axes: bool = False


def permute_heads(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Reorder rotary rows from Hugging Face's split halves to llama.cpp's adjacent pairs.

    `rows` has shape (heads * head size, ...). Within each head, row i of the first half and row i of
    the second half become neighbours. Inverse: `unpermute_heads`.
    """
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def unpermute_heads(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Undo `permute_heads`."""
    shape = rows.shape
    return rows.reshape(heads, shape[0] // heads // 2, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def split_fused_heads(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Reorder fused query, key and value rows from head by head to all queries, all keys, all values.

    `rows` has shape (heads * 3 * head size, ...), as GPT-NeoX stores `query_key_value`.
    """
    shape = rows.shape
    return rows.reshape(heads, 3, shape[0] // heads // 3, *shape[1:]).swapaxes(0, 1).reshape(shape)


PERMUTE_QUERY = Op("permute query heads", lambda rows, c: permute_heads(rows, c.heads), moves_only=True)
PERMUTE_KEY = Op("permute key heads", lambda rows, c: permute_heads(rows, c.kv_heads), moves_only=True)


SPLIT_FUSED_HEADS = Op("split fused heads", lambda rows, c: split_fused_heads(rows, c.heads), moves_only=True)
TRANSPOSE = Op("transpose", lambda matrix, _: matrix.T, moves_only=True, swaps_axes=True)
ADD_ONE = Op("add one", lambda values, _: values + np.float32(1.0), elementwise=True)


def llama3_rope_factors(config: ModelConfig) -> NDArray[np.float32]:
    """Return the frequency divisors of Llama 3.1's rotary scaling, shape (head size / 2,).

    Wavelengths longer than original context / low_freq_factor are divided by `factor`, those shorter
    than original context / high_freq_factor stay, those between are interpolated. Source: transformers
    `_compute_llama3_parameters`. In float32, as the reference converter computes it; only the power is
    rounded from float64, because numpy's float32 power ends differently on different processors.
    """
    rope = config.rope
    theta = float(rope.get("rope_theta", 10000.0))
    factor = float(rope.get("factor", 8.0))
    low, high = float(rope.get("low_freq_factor", 1.0)), float(rope.get("high_freq_factor", 4.0))
    context = float(rope.get("original_max_position_embeddings", 8192))
    size = config.head_size
    one = np.float32(1.0)
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    powers = np.power(np.float64(np.float32(theta)), exponents.astype(np.float64))
    frequencies = one / powers.astype(np.float32)
    # multiplying by reciprocals, as torch does for scalar / tensor, keeps the last bit equal
    wavelengths = one / frequencies * np.float32(2 * np.pi)
    smooth = (one / wavelengths * np.float32(context) - np.float32(low)) / np.float32(high - low)
    between = one / ((one - smooth) / np.float32(factor) + smooth)
    short, long = wavelengths < context / high, wavelengths > context / low
    factors = np.where(short, np.float32(1.0), np.where(long, np.float32(factor), between))
    return factors.astype(np.float32)
