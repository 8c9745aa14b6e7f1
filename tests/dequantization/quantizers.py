"""Small quantizers in numpy: what the tools store for one matrix, as (safetensors dtype, array) by name.

They round to the nearest code and look for no better one: the files are legal, not good.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint.numbers import as_float32
from tests.conversion.tiny_llama import cast

Stored = dict[str, tuple[str, NDArray[Any]]]
Matrix = NDArray[np.float32]

NF4 = (
    "-1 -0.6961928009986877 -0.5250730514526367 -0.39491748809814453 -0.28444138169288635 "
    "-0.18477343022823334 -0.09105003625154495 0 0.07958029955625534 0.16093020141124725 "
    "0.24611230194568634 0.33791524171829224 0.44070982933044434 0.5626170039176941 0.7229568362236023 1"
)
FP4 = "0 0.0625 8 12 4 6 2 3 0 -0.0625 -8 -12 -4 -6 -2 -3"
_FLOAT8_MAX = {"F8_E4M3": 448.0, "F8_E5M2": 57344.0}
_NUMPY = {"F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1", "I32": "<i4", "I64": "<i8"}


@dataclass(frozen=True)
class FourBit:
    """bitsandbytes in 4 bits, as `Params4bit` saves itself."""

    kind: str = "nf4"
    dtype: str = "bfloat16"
    blocksize: int = 64
    double: bool = False
    storage: str = "U8"

    def __call__(self, name: str, weight: Matrix) -> Stored:
        table = np.array((NF4 if self.kind == "nf4" else FP4).split(), np.float32)
        table /= np.abs(table).max()
        blocks = _blocks(weight.reshape(-1), self.blocksize)
        absmax = np.abs(blocks).max(axis=1)
        codes = _nearest(blocks / absmax[:, None], table).reshape(-1)[: weight.size].astype(np.uint8)
        packed = (codes[::2] << 4 | np.append(codes[1::2], [0] * (weight.size % 2)).astype(np.uint8)).ravel()
        values = {"blocksize": self.blocksize, "dtype": self.dtype, "quant_type": self.kind}
        values["shape"] = list(weight.shape)
        stored: Stored = {}
        if self.double:
            nested, changes = _absmax_in_8_bits(f"{name}.weight", absmax)
            stored |= nested
            values |= changes
        else:
            stored[f"{name}.weight.absmax"] = ("F32", absmax)
        width = {"U8": 1, "BF16": 2, "F32": 4}[self.storage]
        raw = packed.view({1: "u1", 2: "<u2", 4: "<u4"}[width])
        text = np.frombuffer(json.dumps(values).encode(), np.uint8)
        return stored | {
            f"{name}.weight": (self.storage, raw.reshape(-1, 1)),
            f"{name}.weight.quant_map": ("F32", table),
            f"{name}.weight.quant_state.bitsandbytes__{self.kind}": ("U8", text),
        }


def int8_rows(name: str, weight: Matrix) -> Stored:
    """Return what bitsandbytes' `Linear8bitLt` saves."""
    absmax = np.abs(weight).max(axis=1)
    codes = np.rint(weight * (127 / absmax[:, None]))
    return {
        f"{name}.weight": ("I8", codes.astype(np.int8)),
        f"{name}.SCB": ("F32", absmax),
        f"{name}.weight_format": ("U8", np.array(0, np.uint8)),
    }


@dataclass(frozen=True)
class Float8:
    """8-bit floats with scales for blocks; a block of 0 rows or columns is as large as the weight."""

    block: tuple[int, int] = (0, 0)
    dtype: str = "F8_E4M3"
    scales: str = "F32"
    ending: str = "weight_scale_inv"
    others: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None  # of a single scale

    def __call__(self, name: str, weight: Matrix) -> Stored:
        largest = np.float32(_FLOAT8_MAX[self.dtype])
        scales = stored_as(_block_max(weight, self.block) / largest, self.scales)
        expanded = _expand(as_float32(scales, self.scales), weight.shape, self.block)
        codes = _encode_float8(np.clip(weight / expanded, -largest, largest), self.dtype)
        if self.shape is not None:
            scales = scales.reshape(self.shape)
        stored: Stored = {
            f"{name}.weight": (self.dtype, codes),
            f"{name}.{self.ending}": (self.scales, scales),
        }
        return stored | {f"{name}.{other}": ("F32", np.array(0.5, np.float32)) for other in self.others}


@dataclass(frozen=True)
class Gptq:
    """GPTQ's layout, rounded to nearest; `orders` gives columns to groups as `desc_act` does."""

    bits: int = 4
    group: int = 32
    symmetric: bool = True
    added: int = 1
    orders: bool = False

    def __call__(self, name: str, weight: Matrix) -> Stored:
        inputs = weight.shape[1]
        groups = np.arange(inputs) // self.group
        if self.orders:
            groups = groups[np.random.PCG64(inputs).random_raw(inputs).argsort()]
        top = 2**self.bits - 1
        members = np.stack([weight[:, groups == group] for group in range(inputs // self.group)])
        low, high = members.min(axis=2), members.max(axis=2)
        if self.symmetric:
            high = np.maximum(high, -low)
            low = -high
        scales = ((high - low) / top).astype(np.float16)
        widened = scales.astype(np.float32)
        zeros = np.full(scales.shape, (top + 1) // 2) if self.symmetric else np.rint(-low / widened)
        zeros = np.clip(zeros, self.added, top)  # GPTQModel keeps zero − 1 from wrapping
        codes = np.clip(np.rint(weight.T / widened[groups]) + zeros[groups], 0, top)
        return {
            f"{name}.qweight": ("I32", pack(codes, self.bits, 0)),
            f"{name}.qzeros": ("I32", pack(zeros - self.added, self.bits, 1)),
            f"{name}.scales": ("F16", scales),
            f"{name}.g_idx": ("I32", groups.astype(np.int32)),
        }


@dataclass(frozen=True)
class Integers:
    """compressed-tensors' integers, one byte each or packed; a group of 0 is a whole row."""

    bits: int = 4
    group: int = 32
    symmetric: bool = True
    packs: bool = True
    scales: str = "BF16"
    orders: bool = False

    def __call__(self, name: str, weight: Matrix) -> Stored:
        outputs, inputs = weight.shape
        size = self.group or inputs
        groups = np.arange(inputs) // size
        if self.orders:
            groups = groups[np.random.PCG64(inputs).random_raw(inputs).argsort()]
        half = 2 ** (self.bits - 1)
        members = weight[:, groups.argsort(kind="stable")].reshape(outputs, -1, size)
        low, high = members.min(axis=2), members.max(axis=2)
        span = np.maximum(high, -low) * 2 if self.symmetric else high - low
        scales = stored_as(span / (2 * half - 1), self.scales)
        widened = as_float32(scales, self.scales)
        zeros = np.zeros(scales.shape) if self.symmetric else np.rint(-half - low / widened)
        zeros = np.clip(zeros, -half, half - 1)
        codes = np.clip(np.rint(weight / widened[:, groups]) + zeros[:, groups], -half, half - 1)
        stored: Stored = {f"{name}.weight_scale": (self.scales, scales)}
        if self.packs:
            stored[f"{name}.weight_packed"] = ("I32", pack(codes + half, self.bits, 1))
            stored[f"{name}.weight_shape"] = ("I64", np.array(weight.shape, np.int64))
        else:
            stored[f"{name}.weight"] = ("I8", codes.astype(np.int8))
        if not self.symmetric:
            packed = (
                ("I32", pack(zeros + half, self.bits, 0)) if self.packs else ("I8", zeros.astype(np.int8))
            )
            stored[f"{name}.weight_zero_point"] = packed
        if self.orders:
            stored[f"{name}.weight_g_idx"] = ("I32", groups.astype(np.int32))
        return stored


def pack(values: NDArray[Any], bits: int, axis: int) -> NDArray[np.int32]:
    """Pack unsigned integers into words along `axis`, the first in the lowest bits, with zeros at the end."""
    lines = np.moveaxis(values.astype(np.uint32), axis, -1)
    per_word = 32 // bits
    padded = np.pad(lines, ((0, 0), (0, -lines.shape[1] % per_word)))
    words = np.zeros((lines.shape[0], padded.shape[1] // per_word), np.uint32)
    for place in range(per_word):
        words |= padded[:, place::per_word] << np.uint32(place * bits)
    return np.ascontiguousarray(np.moveaxis(words, -1, axis)).view(np.int32)


def stored_as(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return values in a dtype of safetensors; bfloat16 as its bits."""
    return cast(values.astype(np.float32), dtype) if dtype == "BF16" else values.astype(_NUMPY[dtype])


def dynamic_map() -> NDArray[np.float32]:
    """Return the 256 values of bitsandbytes' signed dynamic data type (Dettmers 2016, arXiv:1511.04561)."""
    values = [0.0, 1.0]
    for exponent in range(7):
        bounds = np.linspace(0.1, 1, 2**exponent + 1)
        means = (bounds[:-1] + bounds[1:]) / 2 * 10.0 ** (exponent - 6)
        values += [*means, *-means]
    return np.sort(np.array(values, np.float32))


def _absmax_in_8_bits(name: str, absmax: NDArray[np.float32]) -> tuple[Stored, dict[str, Any]]:
    table = dynamic_map()
    offset = np.float32(absmax.mean())
    blocks = _blocks(absmax - offset, 256)
    outer = np.abs(blocks).max(axis=1)
    codes = _nearest(blocks / outer[:, None], table).reshape(-1)[: absmax.size]
    stored: Stored = {
        f"{name}.absmax": ("U8", codes.astype(np.uint8)),
        f"{name}.nested_absmax": ("F32", outer),
        f"{name}.nested_quant_map": ("F32", table),
    }
    return stored, {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": float(offset)}


def _blocks(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.pad(values, (0, -values.size % size)).reshape(-1, size)


def _nearest(values: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the index in `table` that is nearest to each value."""
    order = np.argsort(table, kind="stable")
    middles = (table[order][:-1] + table[order][1:]) / 2
    return order[np.searchsorted(middles, values)]


def _encode_float8(values: Matrix, dtype: str) -> NDArray[np.uint8]:
    codes = np.arange(256, dtype=np.uint8)
    table = as_float32(codes, dtype)
    finite = np.isfinite(table)
    return codes[finite][_nearest(values, table[finite])]


def _block_max(weight: Matrix, block: tuple[int, int]) -> Matrix:
    rows, columns = (size or whole for size, whole in zip(block, weight.shape, strict=True))
    padded = np.pad(np.abs(weight), ((0, -weight.shape[0] % rows), (0, -weight.shape[1] % columns)))
    shape = (padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    return padded.reshape(shape).max(axis=(1, 3))


def _expand(scales: Matrix, shape: tuple[int, ...], block: tuple[int, int]) -> Matrix:
    rows, columns = (size or whole for size, whole in zip(block, shape, strict=True))
    return scales.repeat(rows, axis=0).repeat(columns, axis=1)[: shape[0], : shape[1]]
