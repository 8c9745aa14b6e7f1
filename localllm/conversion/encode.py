"""Turns planned tensors into bytes, in pieces, checking every value on the way.

A tensor whose type does not change is copied; all others go through float32 and ggml's own
encoders. Memory is bounded by one piece, or by one tensor where a verb needs all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Tensor
from localllm.checkpoint.numbers import as_float32
from localllm.conversion.config import ModelConfig
from localllm.conversion.ops import Op
from localllm.conversion.plan import PlannedTensor
from localllm.conversion.sources import Rows
from localllm.errors import CheckpointError
from localllm.gguf_file.format import TensorType
from localllm.native.rows import encode_rows

_PIECE_WEIGHTS = 4 * 1024 * 1024
# the largest magnitude a type holds; a Q8_0 block keeps its largest weight as 127 times a float16
_LARGEST = {
    "F32": 3.4028234663852886e38,
    "BF16": 3.3895313892515355e38,
    "F16": 65504.0,
    "Q8_0": 127 * 65504.0,
}


def encode_tensor(planned: PlannedTensor, config: ModelConfig) -> Iterator[memoryview]:
    """Yield the bytes of one tensor, in order.

    Raise CheckpointError for NaN or infinity in the weights, and for values the type cannot hold.
    """
    if planned.computed is not None:
        yield _bytes(planned.computed.values.astype("<f4"))
        return
    columns, kind = planned.entry.shape[0], planned.entry.type
    is_moved_only = planned.op is None or planned.op.moves_only
    for part in planned.parts:
        for rows in _rows(part, planned.op, config):
            require_finite(rows, part.tensor)
            if is_moved_only and part.tensor.dtype == kind.name:
                yield _bytes(rows)
            else:
                values = as_float32(rows, part.tensor.dtype).reshape(-1, columns)
                yield encode_float32(values, kind, part.tensor.name)


def _rows(part: Rows, op: Op | None, config: ModelConfig) -> Iterator[NDArray[Any]]:
    """Yield the values of a part, transformed where asked; bfloat16 as uint16 until arithmetic widens it."""
    source = part.tensor
    if op is None or op.elementwise:
        for rows in source.read_pieces(_PIECE_WEIGHTS, part.first, part.count):
            yield rows if op is None else op.apply(as_float32(rows, source.dtype), config)
        return
    whole = source.read_array()
    try:
        yield op.apply(whole if op.moves_only else as_float32(whole, source.dtype), config)
    except ValueError:
        raise CheckpointError(
            f"tensor `{source.name}` of shape {list(source.shape)} does not fit the heads in config.json"
        ) from None


def require_finite(values: NDArray[Any], source: Tensor) -> None:
    """Raise CheckpointError when `values` of `source` hold NaN or infinity; uint16 means bfloat16."""
    if values.dtype == np.uint16:
        finite = bool(((values & 0x7F80) != 0x7F80).all())
    else:
        finite = bool(np.isfinite(values).all())
    if not finite:
        raise CheckpointError(
            f"tensor `{source.name}` contains NaN or infinity",
            hint="the training diverged or the file is damaged; use an earlier checkpoint",
        )


def encode_float32(rows: NDArray[np.float32], kind: TensorType, name: str) -> memoryview:
    """Return `rows`, shape (rows, columns), as `kind`. Raise CheckpointError for what it cannot hold."""
    if float(np.abs(rows).max(initial=0.0)) > _LARGEST[kind.name]:
        wider = "bf16" if kind.name in ("F16", "Q8_0") else "f32"
        raise CheckpointError(
            f"tensor `{name}` has values too large for {kind.name.lower()}",
            hint=f"convert with `--outtype {wider}`" if kind.name != "F32" else "the training diverged",
        )
    if kind.name == "F32":
        return _bytes(rows.astype("<f4"))
    return _bytes(encode_rows(rows, kind))


def _bytes(values: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(values).data.cast("B")
