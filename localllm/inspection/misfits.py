"""Matrices whose rows do not fit the blocks of a quantization level, so that another type holds them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from localllm.gguf_file import GGUFHeader, TensorInfo
from localllm.gguf_file.format import FILE_TYPES, Key
from localllm.quantization.levels import LEVELS

_LAYER = re.compile(r"\.\d+\.")
_NEVER_QUANTIZED = "F32"


@dataclass(frozen=True)
class Misfit:
    """`tensors` matrices of that name with rows of so many weights; `*` stands for the layer."""

    name: str
    row: int
    tensors: int


def misfits_of(header: GGUFHeader) -> tuple[Misfit, ...]:
    """Return the matrices of a quantized file whose rows do not fit the block of its level."""
    level = LEVELS.get(FILE_TYPES.get(header.integer(Key.FILE_TYPE) or 0, ""))
    if level is None or not level.is_quantized:
        return ()
    matrices = (t for t in header.tensors if len(t.shape) > 1 and t.type.name != _NEVER_QUANTIZED)
    return misfits(matrices, level.base_type.block_size)


def misfits(matrices: Iterable[TensorInfo], block: int) -> tuple[Misfit, ...]:
    """Return those of `matrices` whose rows are not a multiple of `block`, those of all layers together."""
    counts: dict[tuple[str, int], int] = {}
    for tensor in matrices:
        if tensor.shape[0] % block:
            key = (without_layer(tensor.name), tensor.shape[0])
            counts[key] = counts.get(key, 0) + 1
    return tuple(Misfit(name, row, count) for (name, row), count in counts.items())


def without_layer(name: str) -> str:
    """Return the name of a tensor with `*` for its layer."""
    return _LAYER.sub(".*.", name, count=1)
