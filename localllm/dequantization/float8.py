"""Weights in 8-bit floats with scales for blocks, rows or whole tensors, as DeepSeek and Qwen save them.

weight = value · scale, in float32, whether the scale is called `weight_scale_inv` or `weight_scale`
(DeepSeek-AI 2024, arXiv:2412.19437, section 3.3; transformers' Fp8Dequantize).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Checkpoint, Tensor
from localllm.dequantization.parts import FLOATS, Parts, floats, invalid, require
from localllm.dequantization.rounding import compute_dtype, rounded
from localllm.dequantization.scales import Grid, grid_shape, single
from localllm.errors import CheckpointError

if TYPE_CHECKING:
    from localllm.checkpoint.tensor import Compute

DTYPES = ("F8_E4M3", "F8_E5M2")
_BLOCK = (128, 128)  # what transformers assumes
# scales of activations and of the key-value cache; whole names, for some models have parameters like these
ACTIVATIONS = re.compile(
    r"(^|\.)(input|output|activation|[qkv]|kv)_(scale|zero_point|global_scale)(_inv)?$"
    r"|_(activation|proj_input)_scale(_inv)?$"
)
_STRAY = re.compile(r"(\.weight_scale|_scale_inv)$")


def weights(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the checkpoint's tensors with float32 weights for 8-bit ones; nothing is read."""
    parts = Parts(checkpoint.tensors)
    block = _block(settings)
    for name, tensor in checkpoint.tensors.items():
        if tensor.dtype not in DTYPES:
            continue
        inverse = parts.find(f"{name}_scale_inv")
        scale = parts.take(f"{name}_scale", name) if inverse is None else inverse
        grid = _grid(tensor, require(scale, FLOATS), block)
        native = compute_dtype(checkpoint, scale)
        parts.put(name, name, tensor.shape, native, scaled(tensor, grid))
    return parts.result(ACTIVATIONS, _STRAY)


def scaled(tensor: Tensor, scales: Grid, rounds_to: str = "F32") -> Compute:
    """Return what computes rows of value · scale, rounded to a 16-bit dtype if `rounds_to` is one."""

    def rows(first: int, count: int) -> NDArray[np.float32]:
        return rounded(floats(tensor, first, count) * scales.over(first, count), rounds_to)

    return rows


def _block(settings: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the (rows, columns) of a block; None when config.json says that there are none."""
    stated = settings.get("weight_block_size", _BLOCK)
    if stated is None:
        return None
    sizes = tuple(stated) if isinstance(stated, list | tuple) else ()
    if len(sizes) != 2 or not all(type(size) is int and size > 0 for size in sizes):
        raise CheckpointError(
            f"weight_block_size in config.json must be two numbers, not {str(stated)[:40]!r}",
            hint="is config.json the one that belongs to these weights?",
        )
    return sizes[0], sizes[1]


def _grid(tensor: Tensor, scale: Tensor, block: tuple[int, int] | None) -> Grid:
    shape, found = tensor.shape, scale.shape
    if len(shape) < 2 or 0 in shape or 0 in found:
        raise invalid(tensor.name, f"has shape {list(shape)}, its scales {list(found)}")
    if found in ((), (1,), (1, 1)):
        return single(scale, shape)
    if found == shape[:-2]:  # one for each expert
        return Grid(scale, shape, (shape[-2], shape[-1]))
    others = ((shape[-2], shape[-1]), (1, shape[-1]))
    for candidate in others if block is None else (block, *others):
        if grid_shape(shape, candidate) == found:
            return Grid(scale, shape, candidate)
    raise invalid(scale.name, f"has shape {list(found)}, which fits no blocks of {list(shape)}")
