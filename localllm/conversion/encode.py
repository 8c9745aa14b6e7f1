"""Turns pieces of tensors into bytes, checking every value on the way.

A tensor whose type does not change is copied; all others go through float32 and ggml's own
encoders. The checks compare bit patterns, not numbers: no arithmetic and no memory of their own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import FLOAT_DTYPES, Tensor
from localllm.checkpoint.numbers import as_float32
from localllm.conversion.pieces import Piece
from localllm.conversion.workspace import Workspace
from localllm.errors import CheckpointError
from localllm.gguf_file.format import TensorType
from localllm.native.rows import encode_rows

# the largest magnitude a type holds; a Q8_0 block keeps its largest weight as 127 times a float16
_LARGEST = {
    "F32": 3.4028234663852886e38,
    "BF16": 3.3895313892515355e38,
    "F16": 65504.0,
    "Q8_0": 127 * 65504.0,
}
# what is encoded at a time: it stays in the processor's cache between the steps
_SLICE_WEIGHTS = 128 * 1024


def encode_piece(piece: Piece, space: Workspace) -> memoryview:
    """Return the bytes of a piece; they lie in `space` or are fresh.

    Raise CheckpointError for NaN or infinity in the weights, and for values the type cannot hold.
    """
    rows, dtype = piece.read(space), piece.dtype
    if dtype == piece.kind.name and piece.kind.block_size > 1:
        return _bytes(rows)  # blocks of the checkpoint's own
    if dtype not in FLOAT_DTYPES:
        rows, dtype = as_float32(rows, dtype), "F32"
    if dtype == piece.kind.name:
        _require_finite(largest_magnitude(rows, dtype), piece.source)
        return _bytes(rows)
    rows = rows.reshape(-1, piece.columns)
    encoded = space.array("encoded", (len(rows), piece.kind.row_bytes(piece.columns)), np.uint8)
    step = max(1, _SLICE_WEIGHTS // piece.columns)
    for first in range(0, len(rows), step):
        some = rows[first : first + step]
        largest = largest_magnitude(some, dtype)
        _require_finite(largest, piece.source)
        _require_fitting(largest, piece.kind, piece.source)
        _encode(some, dtype, piece.kind, encoded[first : first + step], space)
    return _bytes(encoded)


def largest_magnitude(values: NDArray[Any], dtype: str) -> float:
    """Return the largest absolute value, infinity or NaN if there is one; 0 for no values.

    `dtype` is a floating-point type; bfloat16 comes as uint16. The bits of floating-point numbers without
    their sign order as the numbers do, with infinity and NaN above all others. As signed integers the
    largest is the largest positive number, as unsigned ones the negative number farthest from zero.
    """
    width = values.dtype.itemsize
    largest_positive = int(values.view(f"<i{width}").max(initial=0))
    signed = int(values.view(f"<u{width}").max(initial=0))
    bits = max(largest_positive, signed & (2 ** (8 * width - 1) - 1))
    if dtype == "BF16" and width == 2:
        return float(np.array(bits << 16, "<u4").view("<f4"))
    return float(np.array(bits, f"<u{width}").view(f"<f{width}"))


def require_finite(values: NDArray[Any], source: Tensor) -> None:
    """Raise CheckpointError when `values` of `source` hold NaN or infinity; uint16 means bfloat16."""
    dtype = "BF16" if values.dtype == np.uint16 else f"F{8 * values.dtype.itemsize}"
    _require_finite(largest_magnitude(values, dtype), source.name)


def encode_float32(rows: NDArray[np.float32], kind: TensorType, name: str) -> memoryview:
    """Return `rows`, shape (rows, columns), as `kind`. Raise CheckpointError for what it cannot hold."""
    _require_fitting(largest_magnitude(rows, "F32"), kind, name)
    if kind.name == "F32":
        return _bytes(rows.astype("<f4"))
    return _bytes(encode_rows(rows, kind))


def _require_finite(largest: float, name: str) -> None:
    if not math.isfinite(largest):
        raise CheckpointError(
            f"tensor `{name}` contains NaN or infinity",
            hint="the training diverged or the file is damaged; use an earlier checkpoint",
        )


def _require_fitting(largest: float, kind: TensorType, name: str) -> None:
    limit = _LARGEST[kind.name]
    if largest <= limit:
        return
    with np.errstate(over="ignore"):  # float64 rounds to float32 before it is encoded
        rounded = float(np.float32(largest))
    if rounded > limit:
        wider = "bf16" if kind.name in ("F16", "Q8_0") else "f32"
        raise CheckpointError(
            f"tensor `{name}` has values too large for {kind.name.lower()}",
            hint=f"convert with `--outtype {wider}`" if kind.name != "F32" else "the training diverged",
        )


def _encode(
    rows: NDArray[Any], dtype: str, kind: TensorType, target: NDArray[np.uint8], space: Workspace
) -> None:
    if kind.name == "F32":
        _widen(rows, dtype, target.view("<f4"))
        return
    if rows.dtype != np.float32:
        values = space.array("float32", rows.shape, np.float32)
        _widen(rows, dtype, values)
        rows = values
    encode_rows(rows, kind, target)


def _widen(rows: NDArray[Any], dtype: str, target: NDArray[np.float32]) -> None:
    """Write `rows` to `target` as float32, as `as_float32` does, without memory of its own."""
    if dtype == "BF16":
        np.left_shift(rows, 16, dtype=np.uint32, out=target.view(np.uint32))
        return
    with np.errstate(over="ignore"):
        np.copyto(target, rows, casting="same_kind")


def _bytes(values: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(values).data.cast("B")
