"""Tensors that are read when asked for: from a safetensors file, or derived from other tensors.

Everything is read by ranges of rows (a row is the last axis), so that a tensor of any size can be
handled in pieces. Nothing is memory-mapped: a file that shrinks while mapped kills the process.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localllm.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Compute = Callable[[int, int], NDArray[np.float32]]

# bytes per element of the safetensors dtypes this tool can read
DTYPE_BYTES: dict[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
FLOAT_DTYPES = ("F64", "F32", "F16", "BF16")  # what weights are computed with as they are
# what numpy has no type for comes as unsigned integers of the same width
_NUMPY_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "F8_E4M3": "u1",
    "F8_E5M2": "u1",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "u1",
}


@dataclass(frozen=True)
class Tensor(ABC):
    """A named tensor, not yet read. `shape` is in row-major (numpy, torch) order."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @abstractmethod
    def read_rows(self, first: int, count: int, scratch: memoryview | None = None) -> NDArray[Any]:
        """Return rows [first, first + count), shape (count, columns).

        bfloat16 comes as uint16, 8-bit floats as uint8. Rows may be read into `scratch`, writable bytes,
        when it is large enough; they are the caller's until it uses `scratch` again.
        """

    @property
    def native_dtype(self) -> str:
        """Return the dtype a checkpoint keeps this tensor in; the values read may be wider."""
        return self.dtype

    @property
    def is_derived(self) -> bool:
        """Tell whether the rows are made when they are read, not read into memory that is given."""
        return False

    @property
    def columns(self) -> int:
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        """Return how many rows of `columns` values there are."""
        return math.prod(self.shape[:-1])

    def read_array(self) -> NDArray[Any]:
        """Return all values in their own dtype and shape."""
        return self.read_rows(0, self.rows).reshape(self.shape)

    def read_pieces(
        self, weights: int, first_row: int = 0, rows: int | None = None
    ) -> Iterator[NDArray[Any]]:
        """Yield `rows` rows (by default all) as arrays of whole rows, about `weights` values at a time."""
        if self.columns == 0:
            return
        step = max(1, weights // self.columns)
        end = first_row + (self.rows if rows is None else rows)
        for first in range(first_row, end, step):
            yield self.read_rows(first, min(step, end - first))


@dataclass(frozen=True)
class StoredTensor(Tensor):
    """A tensor in a safetensors file: `size_bytes` bytes from `offset` of `path` on."""

    path: Path
    offset: int
    size_bytes: int

    def read_rows(self, first: int, count: int, scratch: memoryview | None = None) -> NDArray[Any]:
        """Read the rows. Raise CheckpointError if the file has shrunk."""
        import numpy as np

        row_bytes = self.columns * DTYPE_BYTES[self.dtype]
        size = count * row_bytes
        fits = scratch is not None and len(scratch) >= size
        target = scratch[:size] if scratch is not None and fits else memoryview(bytearray(size))
        # opening it again costs microseconds, and no file stays open however many shards there are
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset + first * row_bytes)
            filled = 0
            while filled < size and (got := file.readinto(target[filled:])):
                filled += got
        if filled != size:
            raise CheckpointError(f"{self.path}: the file ends inside tensor `{self.name}`")
        return np.frombuffer(target, _NUMPY_DTYPES[self.dtype]).reshape(count, self.columns)


@dataclass(frozen=True)
class DerivedTensor(Tensor):
    """A tensor computed from others, as float32: `compute(first row, count)` returns (count, columns).

    `native` is the dtype a checkpoint would keep it in.
    """

    native: str
    compute: Compute

    @property
    def native_dtype(self) -> str:
        return self.native

    @property
    def is_derived(self) -> bool:
        return True

    def read_rows(self, first: int, count: int, scratch: memoryview | None = None) -> NDArray[Any]:
        return self.compute(first, count)
