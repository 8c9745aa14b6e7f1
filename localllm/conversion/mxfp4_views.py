"""Views of weights held as MXFP4 codes and scales: ggml's blocks of them, bit for bit, never requantized."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Tensor
from localllm.conversion.config import ModelConfig
from localllm.conversion.views import Read, View, ViewTensor, every
from localllm.errors import CheckpointError

MXFP4 = "MXFP4"
_GROUP, _CODES, _BYTES = 32, 16, 17  # weights of a block, bytes with their codes, bytes with the scale
_NOT_A_NUMBER = 255  # of scales


def mxfp4(blocks: Tensor, scales: Tensor) -> Tensor:
    """Join codes (…, rows, groups, 16) and scales (…, rows, groups) to ggml's MXFP4 blocks, bit for bit.

    The tensor has the shape of the weights; its rows are read as bytes.
    """
    if blocks.dtype != "U8" or scales.dtype != "U8" or blocks.shape != (*scales.shape, _CODES):
        raise CheckpointError(
            f"`{blocks.name}` of shape {list(blocks.shape)} does not fit its scales {list(scales.shape)}"
        )
    *outer, groups = scales.shape

    def read(first: int, count: int) -> NDArray[Any]:
        found = scales.read_rows(first, count)
        if np.any(found == _NOT_A_NUMBER):
            raise CheckpointError(f"tensor `{scales.name}` contains NaN")
        codes = blocks.read_rows(first * groups, count * groups)
        return pack_mxfp4(codes, found).reshape(count, groups * _BYTES)

    return ViewTensor(blocks.name, MXFP4, (*outer, groups * _GROUP), read)


def pack_mxfp4(codes: NDArray[np.uint8], scales: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ggml's blocks: the scale, then bytes of weights i and i + 16; checkpoints pair 2i and 2i + 1.

    `codes` has shape (blocks, 16), `scales` one byte for each block, the result shape (blocks, 17).
    """
    single = np.empty((len(codes), _GROUP), np.uint8)
    single[:, 0::2], single[:, 1::2] = codes & 15, codes >> 4
    packed = np.empty((len(codes), _BYTES), np.uint8)
    packed[:, 0] = scales.reshape(-1)
    packed[:, 1:] = single[:, :_CODES] | single[:, _CODES:] << 4
    return packed


def mxfp4_experts(*names: str) -> View:
    """View blocks, whose rows alternate between `names`, with the scales beside them."""

    def view(tensor: Tensor, tensors: Mapping[str, Tensor], _: ModelConfig) -> Iterator[tuple[str, Tensor]]:
        scales = _companion(tensor, tensors, "_blocks", "_scales")
        *outer, rows, groups, codes = tensor.shape if len(tensor.shape) == 4 else (0, 0, 0, 0)
        flat = ViewTensor(tensor.name, tensor.dtype, (*outer, rows, groups * codes), _regroup(tensor, groups))
        for number, name in enumerate(names):
            some = every(flat, len(names), number)
            shape = (*outer, rows // len(names), groups, codes)
            blocks = ViewTensor(tensor.name, tensor.dtype, shape, _ungroup(some, groups))
            yield name, mxfp4(blocks, every(scales, len(names), number))

    return view


def mxfp4_scales(
    tensor: Tensor, tensors: Mapping[str, Tensor], _: ModelConfig
) -> Iterable[tuple[str, Tensor]]:
    """Hide scales, which are read with the blocks that they belong to."""
    _companion(tensor, tensors, "_scales", "_blocks")
    return ()


def _regroup(tensor: Tensor, groups: int) -> Read:
    def read(first: int, count: int) -> NDArray[Any]:
        return tensor.read_rows(first * groups, count * groups).reshape(count, -1)

    return read


def _ungroup(tensor: Tensor, groups: int) -> Read:
    def read(first: int, count: int) -> NDArray[Any]:
        return tensor.read_rows(first // groups, count // groups).reshape(count, -1)

    return read


def _companion(tensor: Tensor, tensors: Mapping[str, Tensor], ending: str, other: str) -> Tensor:
    name = tensor.name.removesuffix(ending) + other
    if name not in tensors:
        raise CheckpointError(f"`{name}` is missing, which belongs to `{tensor.name}`")
    return tensors[name]
