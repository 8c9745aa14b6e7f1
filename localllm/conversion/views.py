"""Ways to look at a fused tensor of a checkpoint as the tensors llama.cpp wants, without reading it first.

Each way takes a tensor and returns tensors that read rows of it when they are read themselves, in its own
dtype: bfloat16 passes through without arithmetic. At most one matrix is held (one expert of a layer, for a
transposed tensor), whatever the size of the whole.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Tensor
from localllm.errors import CheckpointError

Read = Callable[[int, int], NDArray[Any]]
# what a tensor becomes, by the new ends of its name; tensors that belong to it are found by name
View = Callable[[Tensor, Mapping[str, Tensor]], Iterable[tuple[str, Tensor]]]

MXFP4 = "MXFP4"
_GROUP, _CODES, _BYTES = 32, 16, 17  # weights of a block, bytes with their codes, bytes with the scale
_NOT_A_NUMBER = 255  # of scales


@dataclass(frozen=True)
class ViewTensor(Tensor):
    """A tensor whose rows `read(first, count)` takes from another one."""

    read: Read

    @property
    def is_derived(self) -> bool:
        return True

    def read_rows(self, first: int, count: int, scratch: memoryview | None = None) -> NDArray[Any]:
        return self.read(first, count)


class _LastMatrix:
    """Keeps the matrix that was read last: pieces of one matrix are read one after another."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # what is read may itself be transposed
        self._held: tuple[Tensor, int, NDArray[Any]] | None = None

    def read(self, tensor: Tensor, number: int) -> NDArray[Any]:
        """Return matrix `number` of a tensor with three axes or more, or the only one of one with two."""
        with self._lock:
            if self._held is None or self._held[0] is not tensor or self._held[1] != number:
                rows = tensor.shape[-2]
                self._held = tensor, number, tensor.read_rows(number * rows, rows)
            return self._held[2]


_LAST = _LastMatrix()


def transposed(tensor: Tensor) -> Tensor:
    """Exchange the last two axes."""
    *outer, columns, rows = _matrices(tensor).shape

    def read(first: int, count: int) -> NDArray[Any]:
        parts = []
        while count > 0:
            number, row = divmod(first, rows)
            taken = min(count, rows - row)
            parts.append(_LAST.read(tensor, number)[:, row : row + taken].T)
            first, count = first + taken, count - taken
        return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts))

    return ViewTensor(tensor.name, tensor.dtype, (*outer, rows, columns), read)


def every(tensor: Tensor, step: int, start: int) -> Tensor:
    """Take the rows `start`, `start + step` … of each matrix."""
    *outer, rows, columns = _matrices(tensor).shape
    _require_multiple(tensor, rows, step)

    def read(first: int, count: int) -> NDArray[Any]:
        return tensor.read_rows(step * first, step * count)[start::step]

    return ViewTensor(tensor.name, tensor.dtype, (*outer, rows // step, columns), read)


def every_column(tensor: Tensor, step: int, start: int) -> Tensor:
    """Take the columns `start`, `start + step` … of each row."""
    _require_multiple(tensor, tensor.columns, step)

    def read(first: int, count: int) -> NDArray[Any]:
        return tensor.read_rows(first, count)[:, start::step]

    return ViewTensor(tensor.name, tensor.dtype, (*tensor.shape[:-1], tensor.columns // step), read)


def part(tensor: Tensor, parts: int, number: int) -> Tensor:
    """Take the `number`-th of equal parts of the rows of each matrix."""
    *outer, rows, columns = _matrices(tensor).shape
    _require_multiple(tensor, rows, parts)
    size = rows // parts

    def read(first: int, count: int) -> NDArray[Any]:
        found = []
        while count > 0:
            matrix, row = divmod(first, size)
            taken = min(count, size - row)
            found.append(tensor.read_rows(matrix * rows + number * size + row, taken))
            first, count = first + taken, count - taken
        return found[0] if len(found) == 1 else np.concatenate(found)

    return ViewTensor(tensor.name, tensor.dtype, (*outer, size, columns), read)


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


def experts_of_columns(gate: str, up: str, *, interleaved: bool) -> View:
    """View matrices whose columns are gate and up projections, one behind the other or `interleaved`."""

    def view(tensor: Tensor, _: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        rows = transposed(tensor)
        for number, name in enumerate((gate, up)):
            yield name, every(rows, 2, number) if interleaved else part(rows, 2, number)

    return view


def turned(name: str) -> View:
    """View matrices with rows and columns exchanged."""
    return lambda tensor, _: [(name, transposed(tensor))]


def interleaved_biases(gate: str, up: str) -> View:
    """View the biases of gate and up projections, which alternate."""
    return lambda tensor, _: [(gate, every_column(tensor, 2, 0)), (up, every_column(tensor, 2, 1))]


def mxfp4_experts(*names: str) -> View:
    """View blocks, whose rows alternate between `names`, with the scales beside them."""

    def view(tensor: Tensor, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        scales = _companion(tensor, tensors, "_blocks", "_scales")
        *outer, rows, groups, codes = tensor.shape if len(tensor.shape) == 4 else (0, 0, 0, 0)
        flat = ViewTensor(tensor.name, tensor.dtype, (*outer, rows, groups * codes), _regroup(tensor, groups))
        for number, name in enumerate(names):
            some = every(flat, len(names), number)
            shape = (*outer, rows // len(names), groups, codes)
            blocks = ViewTensor(tensor.name, tensor.dtype, shape, _ungroup(some, groups))
            yield name, mxfp4(blocks, every(scales, len(names), number))

    return view


def mxfp4_scales(tensor: Tensor, tensors: Mapping[str, Tensor]) -> Iterable[tuple[str, Tensor]]:
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


def _matrices(tensor: Tensor) -> Tensor:
    if len(tensor.shape) < 2 or 0 in tensor.shape:
        raise CheckpointError(f"tensor `{tensor.name}` of shape {list(tensor.shape)} holds no matrices")
    return tensor


def _require_multiple(tensor: Tensor, size: int, parts: int) -> None:
    if math.gcd(size, parts) != parts:
        raise CheckpointError(
            f"tensor `{tensor.name}` of shape {list(tensor.shape)} does not hold {parts} tensors"
        )
