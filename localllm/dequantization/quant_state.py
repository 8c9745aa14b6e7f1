"""The quant state of a 4-bit weight of bitsandbytes: a JSON object in a tensor of bytes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from localllm.checkpoint import Tensor
from localllm.dequantization.parts import invalid, require
from localllm.dequantization.rounding import TORCH_DTYPES

_MAX_BYTES = 16 * 1024
KINDS = ("nf4", "fp4")
_BLOCKSIZES = tuple(2**power for power in range(5, 13))
_MAX_DIMENSION = 2**40


@dataclass(frozen=True)
class NestedState:
    """How the scales were quantized again: `blocksize` scales share one, `offset` is added to all."""

    blocksize: int
    offset: float


@dataclass(frozen=True)
class QuantState:
    """What `kind` (nf4 or fp4) of codes, in blocks of how many, make a weight of which shape and dtype."""

    kind: str
    shape: tuple[int, ...]
    dtype: str
    blocksize: int
    nested: NestedState | None


def read_quant_state(tensor: Tensor, kind: str) -> QuantState:
    """Read and validate a quant state. Raise CheckpointError if it is not one.

    Its shape is not yet held against the bytes that are there.
    """
    values = _json_object(tensor)
    shape = _shape(tensor, values.get("shape"))
    dtype = TORCH_DTYPES.get(str(values.get("dtype")))
    if kind not in KINDS or values.get("quant_type", kind) != kind or dtype is None:
        raise invalid(tensor.name, "is neither nf4 nor fp4 of a dtype that bitsandbytes knows")
    nested = None
    if "nested_blocksize" in values or "nested_offset" in values:
        nested = NestedState(
            _blocksize(tensor, values.get("nested_blocksize")), _number(tensor, values.get("nested_offset"))
        )
    return QuantState(kind, shape, dtype, _blocksize(tensor, values.get("blocksize")), nested)


def _json_object(tensor: Tensor) -> dict[str, Any]:
    require(tensor, ("U8",))
    if len(tensor.shape) != 1 or not 0 < tensor.shape[0] <= _MAX_BYTES:
        raise invalid(tensor.name, f"has shape {list(tensor.shape)}, which is no quant state")
    try:
        values = json.loads(tensor.read_array().tobytes().decode("utf-8"))
    except (ValueError, RecursionError):
        raise invalid(tensor.name, "is not valid JSON") from None
    if not isinstance(values, dict):
        raise invalid(tensor.name, "is not a JSON object")
    return values


def _shape(tensor: Tensor, value: Any) -> tuple[int, ...]:
    sizes = tuple(value) if isinstance(value, list) and 0 < len(value) <= 4 else ()
    if not sizes or not all(type(size) is int and 0 < size < _MAX_DIMENSION for size in sizes):
        raise invalid(tensor.name, "has no shape that a weight could have")
    return sizes


def _blocksize(tensor: Tensor, value: Any) -> int:
    if type(value) is not int or value not in _BLOCKSIZES:
        raise invalid(tensor.name, f"has blocks of {str(value)[:20]}")
    return value


def _number(tensor: Tensor, value: Any) -> float:
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        number = math.nan
    if not math.isfinite(number):
        raise invalid(tensor.name, "has an offset that is not a number")
    return number
