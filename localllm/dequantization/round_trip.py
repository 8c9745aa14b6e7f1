"""The weights QLoRA training saw: a 16-bit model as bitsandbytes quantizes it on loading, and back.

Training adds the adapter to weights rounded to NF4 with double quantization (Dettmers et al. 2023,
arXiv:2305.14314), the default of the common trainers: blocks of 64 weights share a scale, which itself is
an 8-bit code in blocks of 256. Every linear layer is rounded, the output head is not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import EMBEDDINGS, HEADS, Checkpoint, DerivedTensor, Tensor
from localllm.checkpoint.numbers import as_float32
from localllm.dequantization.bitsandbytes import NF4
from localllm.dequantization.rounding import rounded

_BLOCK = 64
_NESTED_BLOCK = 256
_PIECE_BLOCKS = 16 * 1024
_scaling = threading.Lock()
# not linear layers, or kept in 16 bits by transformers
_KEPT = (*EMBEDDINGS, *HEADS, "wpe.weight")


def as_in_training(checkpoint: Checkpoint) -> Checkpoint:
    """Return `checkpoint` with its linear layers rounded to NF4 and back; computed while they are read."""
    tensors = {
        name: _rounded(tensor) if _is_linear(tensor) else tensor
        for name, tensor in checkpoint.tensors.items()
    }
    return replace(checkpoint, tensors=tensors)


def _is_linear(tensor: Tensor) -> bool:
    return len(tensor.shape) == 2 and tensor.name.endswith(".weight") and not tensor.name.endswith(_KEPT)


def _rounded(tensor: Tensor) -> Tensor:
    def rows(first: int, count: int) -> NDArray[np.float32]:
        return _round_trip(tensor, first, count)

    return DerivedTensor(tensor.name, "F32", tensor.shape, tensor.native_dtype, rows)


def _round_trip(tensor: Tensor, first: int, count: int) -> NDArray[np.float32]:
    """Return rows of a matrix, rounded. Its blocks lie one after another and may cross rows."""
    columns = tensor.columns
    begin, end = first * columns, (first + count) * columns
    block, last = begin // _BLOCK, -(-end // _BLOCK)
    values = _blocks(tensor, block, last - block)
    absmax = np.abs(values).max(axis=1, keepdims=True)
    normalised = values * np.divide(np.float32(1), absmax, out=np.zeros_like(absmax), where=absmax > 0)
    codes = np.searchsorted(_borders(), normalised.reshape(-1))
    restored = np.array(NF4, np.float32)[codes].reshape(values.shape) * _scales(tensor)[block:last, None]
    np.copyto(restored, values, where=np.isnan(values))  # for the conversion to find
    flat = np.ascontiguousarray(restored.reshape(-1)[begin - block * _BLOCK :][: end - begin])
    return rounded(flat, tensor.native_dtype).reshape(count, columns)


def _scales(tensor: Tensor) -> NDArray[np.float32]:
    with _scaling:  # or every thread would read the matrix for itself
        return _quantized_scales(tensor)


@lru_cache(maxsize=2)
def _quantized_scales(tensor: Tensor) -> NDArray[np.float32]:
    """Return the scales of all blocks after their own quantization; those of the last matrices are kept."""
    absmax = np.concatenate([np.abs(blocks).max(axis=1) for blocks in _all_blocks(tensor)])
    offset = np.float32(absmax.mean(dtype=np.float64))
    padded = np.zeros(-(-len(absmax) // _NESTED_BLOCK) * _NESTED_BLOCK, np.float32)
    padded[: len(absmax)] = absmax - offset
    groups = padded.reshape(-1, _NESTED_BLOCK)
    largest = np.abs(groups).max(axis=1, keepdims=True)
    normalised = np.divide(groups, largest, out=np.zeros_like(groups), where=largest > 0)
    table = _dynamic_table()
    codes = np.searchsorted((table[1:] + table[:-1]) / 2, normalised)
    scales: NDArray[np.float32] = (table[codes] * largest).reshape(-1)[: len(absmax)] + offset
    return scales


def _all_blocks(tensor: Tensor) -> Iterator[NDArray[np.float32]]:
    total = -(-tensor.rows * tensor.columns // _BLOCK)
    for block in range(0, total, _PIECE_BLOCKS):
        yield _blocks(tensor, block, min(_PIECE_BLOCKS, total - block))


def _blocks(tensor: Tensor, first: int, count: int) -> NDArray[np.float32]:
    """Return blocks of 64 weights, shape (count, 64); what is missing from the last one is zero."""
    columns, size = tensor.columns, tensor.rows * tensor.columns
    begin, end = first * _BLOCK, min((first + count) * _BLOCK, size)
    row, last = begin // columns, -(-end // columns)
    read = as_float32(tensor.read_rows(row, last - row), tensor.dtype).reshape(-1)
    flat = read[begin - row * columns :][: end - begin]
    padded = np.zeros(count * _BLOCK, np.float32)
    padded[: len(flat)] = flat
    return padded.reshape(count, _BLOCK)


@cache
def _borders() -> NDArray[np.float32]:
    """Return the middles between neighbouring codes; a value on one belongs to the lower code."""
    table = np.array(NF4, np.float32)
    return (table[1:] + table[:-1]) / np.float32(2)


@cache
def _dynamic_table() -> NDArray[np.float32]:
    """Return the 256 values of bitsandbytes' signed 8-bit dynamic type (Dettmers 2016, arXiv:1511.04561).

    A sign, an exponent of ten in unary, and the rest of the bits linear between 0.1 and 1; with 0 and 1.
    """
    values = [0.0, 1.0]
    for exponent in range(7):
        borders = _linear(2**exponent)
        middles = (borders[:-1] + borders[1:]) / np.float32(2)
        scaled = middles * np.float32(10.0 ** (exponent - 6))
        values += [*scaled.tolist(), *(-scaled).tolist()]
    return np.sort(np.array(values, np.float32))


def _linear(steps: int) -> NDArray[np.float32]:
    """Return `steps` + 1 values from 0.1 to 1 as torch.linspace does.

    It counts from the nearer end in steps of a float32, and rounds once.
    """
    low, high = np.float32(0.1), np.float32(1)
    step = np.float64((high - low) / np.float32(steps))
    index = np.arange(steps + 1)
    rising, falling = np.float64(low) + step * index, np.float64(high) - step * (steps - index)
    return np.where(index < (steps + 1) // 2, rising, falling).astype(np.float32)
