"""The verbs a family table may apply to a tensor: pure functions on numpy arrays.

Each works on arrays in row-major order. A verb that only moves elements (`moves_only`) works on any
dtype, so that a bfloat16 tensor can pass through without arithmetic; all others get float32. One that
treats each row by itself (`rowwise`) may be given a tensor in pieces; one that `swaps_axes`
turns rows into columns, one that changes the number of axes tells the new `shape`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.conversion.config import ModelConfig
from localllm.errors import CheckpointError


@dataclass(frozen=True)
class Op:
    """A named verb: `apply(array, config)` returns the transformed array."""

    name: str
    apply: Callable[[NDArray[Any], ModelConfig], NDArray[Any]]
    moves_only: bool = False
    rowwise: bool = False
    swaps_axes: bool = False
    shape: Callable[[tuple[int, ...], ModelConfig], tuple[int, ...]] | None = None

    def shape_of(self, shape: tuple[int, ...], config: ModelConfig) -> tuple[int, ...]:
        """Return the shape of what a tensor of `shape` becomes, both in row-major order."""
        if self.swaps_axes:
            return shape[::-1]
        return self.shape(shape, config) if self.shape else shape


def in_turn(*ops: Op) -> Op:
    """Return the verb that applies `ops` one after another; none may turn rows into columns."""

    def apply(values: NDArray[Any], config: ModelConfig) -> NDArray[Any]:
        for op in ops:
            values = op.apply(values, config)
        return values

    def shape(shape: tuple[int, ...], config: ModelConfig) -> tuple[int, ...]:
        for op in ops:
            shape = op.shape_of(shape, config)
        return shape

    name = ", ".join(op.name for op in ops)
    return Op(name, apply, moves_only=all(op.moves_only for op in ops), shape=shape)


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


def negative_exp(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return -exp(values), rounded once: float32's own exp ends differently on different processors."""
    with np.errstate(over="ignore"):
        exact: NDArray[np.float64] = np.exp(values.astype(np.float64))
        return -exact.astype(np.float32)


def _groups(config: ModelConfig) -> int:
    return config.integer("mamba_n_groups", "n_groups")


def _by_group(size: int, groups: int) -> tuple[int, int]:
    if not groups or size % groups:
        raise CheckpointError(f"config.json: {groups} groups cannot share {size} channels")
    return groups, size // groups


def tile_heads(values: NDArray[Any], key_heads: int, size: int, axis: int = 0) -> NDArray[Any]:
    """Reorder heads of `size` along an axis from key head by key head to all first ones, all second ones …

    Head k·r + j, the j-th of r that use key head k, becomes head j·key_heads + k. Inverse: `tile_heads` with
    r key heads.
    """
    moved = np.moveaxis(values, axis, 0)
    parts = moved.reshape(key_heads, -1, size, *moved.shape[1:])
    return np.moveaxis(parts.swapaxes(0, 1).reshape(moved.shape), 0, axis)


def _tile_values(values: NDArray[Any], config: ModelConfig, axis: int = 0) -> NDArray[Any]:
    size = config.integer("linear_value_head_dim")
    return tile_heads(values, config.integer("linear_num_key_heads"), size, axis)


def _tile_values_behind(rows: NDArray[Any], config: ModelConfig) -> NDArray[Any]:
    """Reorder the values behind queries and keys."""
    start = 2 * config.integer("linear_num_key_heads") * config.integer("linear_key_head_dim")
    return np.concatenate([rows[:start], _tile_values(rows[start:], config)])


TILE_HEADS = Op(
    "tile heads",
    lambda rows, c: tile_heads(rows, c.integer("linear_num_key_heads"), 1),
    moves_only=True,
)
TILE_VALUE_ROWS = Op("tile value heads", _tile_values, moves_only=True)
TILE_VALUES_BEHIND = Op("tile value heads behind keys", _tile_values_behind, moves_only=True)
TILE_VALUE_COLUMNS = Op(
    "tile columns of value heads",
    lambda rows, c: _tile_values(rows, c, axis=-1),
    moves_only=True,
    rowwise=True,
)
PERMUTE_QUERY = Op("permute query heads", lambda rows, c: permute_heads(rows, c.heads), moves_only=True)
PERMUTE_KEY = Op("permute key heads", lambda rows, c: permute_heads(rows, c.kv_heads), moves_only=True)


SPLIT_FUSED_HEADS = Op("split fused heads", lambda rows, c: split_fused_heads(rows, c.heads), moves_only=True)
TRANSPOSE = Op("transpose", lambda matrix, _: matrix.T, moves_only=True, swaps_axes=True)
# convolutions over time of each channel by itself: (channels, 1, time)
DROP_MIDDLE_AXIS = Op(
    "drop the middle axis",
    lambda kernels, _: kernels.squeeze(1),
    moves_only=True,
    shape=lambda shape, _: (shape[0], *shape[2:]),
)
# a state decays by exp(time step · A), and checkpoints hold ln(-A)
NEGATIVE_EXP = Op("minus exp", lambda values, _: negative_exp(values), rowwise=True)
COLUMN = Op(
    "one column", lambda values, _: values[..., None], moves_only=True, shape=lambda shape, _: (*shape, 1)
)
ROWS_BY_GROUP = Op(
    "a row for each group",
    lambda values, c: values.reshape(_groups(c), -1),
    moves_only=True,
    shape=lambda shape, c: _by_group(shape[0], _groups(c)),
)
ADD_ONE = Op("add one", lambda values, _: values + np.float32(1.0), rowwise=True)


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


def proportional_rope_factors(size: int, share: float) -> NDArray[np.float32]:
    """Return divisors that leave all but the first `share` of a head's pairs unrotated, shape (size / 2,).

    The rotated pairs keep the frequencies of a whole head. Source: transformers
    `_compute_proportional_rope_parameters`; dividing by 1e30 stands for its frequencies of zero.
    """
    factors = np.full(size // 2, 1e30, np.float32)
    factors[: int(share * size // 2)] = 1.0
    return factors
