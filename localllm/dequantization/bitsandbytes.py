"""Weights that bitsandbytes quantized: 4-bit NF4 and FP4 (QLoRA), and int8.

4 bits (Dettmers et al. 2023, arXiv:2305.14314): weights lie one after another in blocks of `blocksize`,
which may cross rows; weight = table[code] · absmax[block] in float32, rounded to the dtype in the quant
state. With double quantization absmax is itself 8-bit codes with a table, block scales and an offset.
int8 (Dettmers et al. 2022, arXiv:2208.07339): weight = value · SCB[row] · (1 / 127) in float32.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import DTYPE_BYTES, Checkpoint, Tensor
from localllm.dequantization.parts import FLOATS, Parts, floats, in_line, invalid, require
from localllm.dequantization.quant_state import KINDS, QuantState, read_quant_state
from localllm.dequantization.rounding import compute_dtype, rounded

STATE = ".quant_state.bitsandbytes__"
NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
_FP4_TWELFTHS = (0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0)  # then the same, negative
_STORAGE = ("U8", "I8", "BF16", "F16", "F32")  # bnb_4bit_quant_storage: only the bytes count
_CODES = 256
_ROW_FORMAT = 0
_NOTHING = re.compile(r"(?!)")
_STRAY = re.compile(r"\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..*|SCB|weight_format)$")


def weights(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the checkpoint's tensors with float32 weights for quantized ones; only quant states are read.

    4-bit and int8 weights are told apart one by one, so `settings` decide nothing.
    """
    parts = Parts(checkpoint.tensors)
    for name, tensor in checkpoint.tensors.items():
        weight, state, kind = name.partition(STATE)
        if state:
            _put_four_bit(parts, weight, read_quant_state(tensor, kind))
        elif any(f"{name}{STATE}{kind}" in checkpoint.tensors for kind in KINDS):
            continue  # is put together where its quant state comes
        elif tensor.dtype == "I8":
            _put_int8(parts, name, tensor, checkpoint)
        elif tensor.dtype == "U8" and name.endswith(".weight"):
            # from before bitsandbytes 0.41, which did not save shapes
            parts.take(f"{name}{STATE}nf4", name)
    return parts.result(_NOTHING, _STRAY)


@dataclass(frozen=True)
class _Absmax:
    """The scale of each block: float32, or with `nested` 8-bit codes of such scales."""

    numbers: Tensor
    table: Tensor | None = None
    nested: Tensor | None = None
    nested_blocksize: int = 1
    offset: float = 0.0

    def read(self, first: int, count: int) -> NDArray[np.float32]:
        """Return the scales of `count` blocks from block `first` on."""
        if self.table is None or self.nested is None:
            return floats(self.numbers, first, count).reshape(-1)
        codes = self.numbers.read_rows(first, count).reshape(-1)
        outer, size = first // self.nested_blocksize, self.nested_blocksize
        last = -(-(first + count) // size)
        scales = floats(self.nested, outer, last - outer).repeat(size)[first - outer * size :][:count]
        values: NDArray[np.float32] = floats(self.table, 0, _CODES).reshape(-1)[codes] * scales
        return values + np.float32(self.offset)


@dataclass(frozen=True)
class _FourBitWeight:
    """Computes rows from bytes that hold two codes each, the first in the high half."""

    state: QuantState
    packed: Tensor
    absmax: _Absmax

    def rows(self, first: int, count: int) -> NDArray[np.float32]:
        columns, size = self.state.shape[-1], self.state.blocksize
        begin, end = first * columns, (first + count) * columns
        data = self.packed.read_rows(begin // 2, (end + 1) // 2 - begin // 2).reshape(-1)
        values = _pairs(self.state.kind).take(data).view(np.float32)[begin % 2 :][: end - begin]
        block = begin // size
        scales = self.absmax.read(block, -(-end // size) - block)
        scales = scales.repeat(size)[begin - block * size :][: end - begin]
        return rounded(values * scales, self.state.dtype).reshape(count, columns)


def _pairs(kind: str) -> NDArray[np.uint64]:
    """Return the two float32 values that each byte stands for, as one number: a lookup for both."""
    if kind == "nf4":
        table = np.array(NF4, np.float32)
    else:
        half = np.array(_FP4_TWELFTHS, np.float32) / np.float32(12)
        table = np.concatenate([half, 0 - half])  # both zeros are positive
    codes = np.arange(_CODES)
    return np.stack([table[codes >> 4], table[codes & 15]], axis=1).view(np.uint64).reshape(-1)


def _put_four_bit(parts: Parts, name: str, state: QuantState) -> None:
    parts.find(f"{name}{STATE}{state.kind}")
    parts.find(f"{name}.quant_map")  # the table again, which bitsandbytes does not use either
    packed = require(parts.take(name, name), _STORAGE)
    size_bytes = math.prod(packed.shape) * DTYPE_BYTES[packed.dtype]
    count = math.prod(state.shape)
    if size_bytes != -(-count // 2) or packed.shape[-1] != 1:
        raise invalid(name, f"of shape {list(packed.shape)} does not hold {list(state.shape)} in 4 bits")
    absmax = _absmax(parts, name, state, -(-count // state.blocksize))
    weight = _FourBitWeight(state, replace(packed, dtype="U8", shape=(size_bytes, 1)), absmax)
    parts.put(name, name, state.shape, state.dtype, weight.rows)


def _absmax(parts: Parts, name: str, state: QuantState, blocks: int) -> _Absmax:
    numbers = parts.take(f"{name}.absmax", name)
    if state.nested is None:
        return _Absmax(in_line(require(numbers, FLOATS, (blocks,))))
    outer = -(-blocks // state.nested.blocksize)
    nested = require(parts.take(f"{name}.nested_absmax", name), FLOATS, (outer,))
    table = require(parts.take(f"{name}.nested_quant_map", name), FLOATS, (_CODES,))
    return _Absmax(
        in_line(require(numbers, ("U8",), (blocks,))),
        in_line(table),
        in_line(nested),
        state.nested.blocksize,
        state.nested.offset,
    )


def _put_int8(parts: Parts, name: str, tensor: Tensor, checkpoint: Checkpoint) -> None:
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        raise invalid(name, f"has shape {list(tensor.shape)}, not rows and columns")
    prefix = name.removesuffix("weight")
    scales = require(parts.take(f"{prefix}SCB", name), FLOATS)
    layout = parts.find(f"{prefix}weight_format")
    if layout is not None and (layout.rows * layout.columns != 1 or layout.read_array() != _ROW_FORMAT):
        raise invalid(layout.name, "names a layout for one kind of GPU; only rows are read")
    if math.prod(scales.shape) != tensor.rows:
        raise invalid(scales.name, f"has shape {list(scales.shape)}, not one for each of {tensor.rows} rows")
    by_row = in_line(scales)

    def rows(first: int, count: int) -> NDArray[np.float32]:
        products: NDArray[np.float32] = floats(tensor, first, count) * floats(by_row, first, count)
        return products * np.float32(7.874015718698502e-3)  # 1 / 127 as bitsandbytes spells it

    parts.put(name, name, tensor.shape, compute_dtype(checkpoint, scales), rows)
