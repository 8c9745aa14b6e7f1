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
from localllm.conversion.config import ModelConfig
from localllm.errors import CheckpointError

Read = Callable[[int, int], NDArray[Any]]
# what a tensor becomes, by the new ends of its name; tensors that belong to it are found by name
View = Callable[[Tensor, Mapping[str, Tensor], ModelConfig], Iterable[tuple[str, Tensor]]]


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
    rows = _matrices(tensor).shape[-2]
    _require_multiple(tensor, rows, parts)
    return rows_of_each(tensor, number * rows // parts, rows // parts)


def rows_of_each(tensor: Tensor, first: int, count: int) -> Tensor:
    """Take the rows [first, first + count) of each matrix."""
    *outer, rows, columns = _matrices(tensor).shape
    if not 0 < count <= rows - first:
        raise CheckpointError(
            f"tensor `{tensor.name}` has no rows {first} to {first + count} in each of its parts"
        )

    def read(start: int, wanted: int) -> NDArray[Any]:
        found = []
        while wanted > 0:
            matrix, row = divmod(start, count)
            taken = min(wanted, count - row)
            found.append(tensor.read_rows(matrix * rows + first + row, taken))
            start, wanted = start + taken, wanted - taken
        return found[0] if len(found) == 1 else np.concatenate(found)

    return ViewTensor(tensor.name, tensor.dtype, (*outer, count, columns), read)


def experts_of_columns(gate: str, up: str, *, interleaved: bool) -> View:
    """View matrices whose columns are gate and up projections, one behind the other or `interleaved`."""

    def view(tensor: Tensor, *_: Any) -> Iterator[tuple[str, Tensor]]:
        rows = transposed(tensor)
        for number, name in enumerate((gate, up)):
            yield name, every(rows, 2, number) if interleaved else part(rows, 2, number)

    return view


def keys_and_values(
    keys: str, values: str, key_rows: Callable[[ModelConfig], int], value_rows: Callable[[ModelConfig], int]
) -> View:
    """View rows that are, for each head, those that make its key and those that make its value.

    Keys are turned: a head's matrix has a row for each column. Both have an axis for the heads.
    """

    def view(tensor: Tensor, _: Mapping[str, Tensor], config: ModelConfig) -> Iterator[tuple[str, Tensor]]:
        first, second = key_rows(config), value_rows(config)
        heads = by_head(tensor, first + second)
        yield keys, transposed(rows_of_each(heads, 0, first))
        yield values, rows_of_each(heads, first, second)

    return view


def turned(name: str) -> View:
    """View matrices with rows and columns exchanged."""
    return lambda tensor, *_: [(name, transposed(tensor))]


def interleaved_biases(gate: str, up: str) -> View:
    """View the biases of gate and up projections, which alternate."""
    return lambda tensor, *_: [(gate, every_column(tensor, 2, 0)), (up, every_column(tensor, 2, 1))]


def by_head(tensor: Tensor, rows: int) -> Tensor:
    """Look at a matrix as one for each head, of so many rows."""
    if len(tensor.shape) != 2 or rows == 0 or tensor.rows % rows:
        raise CheckpointError(
            f"tensor `{tensor.name}` of shape {list(tensor.shape)} does not hold heads of {rows} rows"
        )
    shape = (tensor.rows // rows, rows, tensor.columns)
    return ViewTensor(tensor.name, tensor.dtype, shape, tensor.read_rows)


def _matrices(tensor: Tensor) -> Tensor:
    if len(tensor.shape) < 2 or 0 in tensor.shape:
        raise CheckpointError(f"tensor `{tensor.name}` of shape {list(tensor.shape)} holds no matrices")
    return tensor


def _require_multiple(tensor: Tensor, size: int, parts: int) -> None:
    if math.gcd(size, parts) != parts:
        raise CheckpointError(
            f"tensor `{tensor.name}` of shape {list(tensor.shape)} does not hold {parts} tensors"
        )
