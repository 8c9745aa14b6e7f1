"""Weights that llm-compressor quantized: 8-bit floats, int8, and 2-, 4- or 8-bit integers packed into words.

weight = (value − zero point) · scale, computed in and rounded to the dtype of the scales, as the package
compressed-tensors does it. Scales are for the tensor, a row, a group of columns or a rectangle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Checkpoint, Tensor
from localllm.dequantization.float8 import ACTIVATIONS
from localllm.dequantization.float8 import DTYPES as FLOAT8
from localllm.dequantization.packing import WORD_BITS, unpack, words_for
from localllm.dequantization.parts import FLOATS, Parts, floats, in_line, invalid, require
from localllm.dequantization.rounding import compute_dtype, rounded
from localllm.dequantization.scales import Grid
from localllm.dequantization.schemes import Scheme, read_schemes

_PACKED = "weight_packed"
_ONE_BYTE = ("I8", *FLOAT8)
_SHAPE_LIMIT = 2**40
_STRAY = re.compile(r"\.weight_(scale|zero_point|g_idx|shape|global_scale)$")


def weights(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the checkpoint's tensors with float32 weights for quantized ones; only shapes are read.

    Raise UnsupportedModelError for formats with sparsity and 4-bit floats.
    """
    schemes = read_schemes(checkpoint, settings)
    parts = Parts(checkpoint.tensors)
    for name, tensor in checkpoint.tensors.items():
        module, dot, last = name.rpartition(".")
        if last == _PACKED:
            _put_packed(parts, f"{module}{dot}weight", tensor, schemes, checkpoint)
        elif last == "weight" and tensor.dtype in _ONE_BYTE:
            _put_one_byte(parts, name, tensor, schemes, checkpoint)
    return parts.result(ACTIVATIONS, _STRAY)


class _Codes(Protocol):
    """What a weight's integers are read by: rows as float32."""

    def __call__(self, first: int, count: int) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class _Weight:
    """Computes rows from codes, scales and zero points; `order` gives the group of each column."""

    codes: _Codes
    scales: Grid
    zeros: Grid | None
    packed_zeros: _PackedZeros | None
    order: Tensor | None

    def rows(self, first: int, count: int) -> NDArray[np.float32]:
        codes = self.codes(first, count)
        groups = self._groups()
        if self.zeros is not None:
            codes = codes - _over(self.zeros, first, count, groups)
        elif self.packed_zeros is not None:
            codes = codes - self.packed_zeros.over(first, count, groups)
        return rounded(codes * _over(self.scales, first, count, groups), self.scales.numbers.dtype)

    def _groups(self) -> NDArray[np.int64] | None:
        """Return the group of each column, or None when they lie in order."""
        if self.order is None:
            return None
        groups = self.order.read_rows(0, self.order.rows).reshape(-1).astype(np.int64)
        if (groups == -1).any():  # what is written before an order is chosen
            return None
        size = self.scales.block[1]
        if not np.array_equal(np.sort(groups), np.arange(len(groups)) // size):
            raise invalid(self.order.name, f"does not share the columns out among groups of {size}")
        return groups


@dataclass(frozen=True)
class _PackedZeros:
    """Zero points packed along the rows; `groups` columns, each for `size` columns of the weight."""

    words: Tensor
    bits: int
    size: int
    columns: int

    def over(self, first: int, count: int, groups: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """Return the zero points of rows [first, first + count), shape (count, columns)."""
        per_word = WORD_BITS // self.bits
        low = first // per_word
        words = self.words.read_rows(low, -(-(first + count) // per_word) - low)
        chosen = unpack(words, self.bits, axis=0)[first - low * per_word :][:count]
        zeros = _signed(chosen, self.bits)
        return zeros[:, groups] if groups is not None else zeros.repeat(self.size, axis=1)[:, : self.columns]


def _put_packed(
    parts: Parts, name: str, words: Tensor, schemes: tuple[Scheme, ...], checkpoint: Checkpoint
) -> None:
    parts.take(words.name, name)
    shape = _true_shape(parts.take(f"{name}_shape", name))
    require(words, ("I32",))
    scale = require(parts.take(f"{name}_scale", name), FLOATS)
    fitting = [
        scheme
        for scheme in schemes
        if scheme.packs and words.shape == (shape[0], words_for(shape[1], scheme.bits))
    ]
    if not fitting:
        raise invalid(words.name, f"has shape {list(words.shape)}, which does not hold {list(shape)}")
    scheme, scales = _grid(scale, shape, tuple(fitting))

    def codes(first: int, count: int) -> NDArray[np.float32]:
        return _signed(unpack(words.read_rows(first, count), scheme.bits, axis=1)[:, : shape[1]], scheme.bits)

    zero = _zero_points(parts, name, scheme)
    packed = None
    if zero is not None and zero.dtype == "I32":
        across = scale.shape[-1]
        require(zero, ("I32",), (words_for(shape[0], scheme.bits), across))
        packed = _PackedZeros(zero, scheme.bits, scales.block[1], shape[1])
        zero = None
    zeros = _zero_grid(zero, scales)
    weight = _Weight(codes, scales, zeros, packed, _order(parts, name, shape))
    parts.put(words.name, name, shape, compute_dtype(checkpoint, scale), weight.rows)


def _put_one_byte(
    parts: Parts, name: str, tensor: Tensor, schemes: tuple[Scheme, ...], checkpoint: Checkpoint
) -> None:
    shape = tensor.shape
    if len(shape) < 2 or 0 in shape:
        raise invalid(name, f"has shape {list(shape)}, not rows and columns")
    scale = require(parts.take(f"{name}_scale", name), FLOATS)
    fitting = tuple(scheme for scheme in schemes if not scheme.packs)
    scheme, scales = _grid(scale, shape, fitting)

    def codes(first: int, count: int) -> NDArray[np.float32]:
        return floats(tensor, first, count)

    zeros = _zero_grid(_zero_points(parts, name, scheme), scales)
    weight = _Weight(codes, scales, zeros, None, _order(parts, name, shape))
    parts.put(name, name, shape, compute_dtype(checkpoint, scale), weight.rows)


def _true_shape(tensor: Tensor) -> tuple[int, int]:
    """Return the shape of a packed weight, which its words leave open. It is not yet held against them."""
    require(tensor, ("I64", "I32"), (2,))
    rows, columns = map(int, tensor.read_array())
    if not (0 < rows < _SHAPE_LIMIT and 0 < columns < _SHAPE_LIMIT):
        raise invalid(tensor.name, f"says {[rows, columns]}, which no weight can have")
    return rows, columns


def _grid(scale: Tensor, shape: tuple[int, ...], schemes: tuple[Scheme, ...]) -> tuple[Scheme, Grid]:
    """Return the first scheme whose scales have the shape that is there, and the scales."""
    for scheme in schemes:
        grid = scheme.grid(scale, shape)
        if grid is not None:
            return scheme, grid
    raise invalid(scale.name, f"of shape {list(scale.shape)} fits no scheme in config.json for {list(shape)}")


def _zero_points(parts: Parts, name: str, scheme: Scheme) -> Tensor | None:
    if scheme.symmetric:
        return parts.find(f"{name}_zero_point")
    return parts.take(f"{name}_zero_point", name)


def _zero_grid(zero: Tensor | None, scales: Grid) -> Grid | None:
    if zero is None:
        return None
    require(zero, (*_ONE_BYTE, "U8", "I32", *FLOATS), scales.numbers.shape)
    return Grid(zero, scales.shape, scales.block)


def _order(parts: Parts, name: str, shape: tuple[int, ...]) -> Tensor | None:
    order = parts.find(f"{name}_g_idx")
    return None if order is None else in_line(require(order, ("I32", "I64"), shape[-1:]))


def _over(grid: Grid, first: int, count: int, groups: NDArray[np.int64] | None) -> NDArray[np.float32]:
    return grid.over(first, count) if groups is None else grid.by_group(first, count, groups)


def _signed(codes: NDArray[np.uint8], bits: int) -> NDArray[np.float32]:
    """Packed integers are stored without a sign, with half their range added."""
    return codes.astype(np.float32) - np.float32(2 ** (bits - 1))
