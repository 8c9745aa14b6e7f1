"""Cuts planned tensors into pieces that fit the processor's cache, and knows how to read each of them.

A verb that moves rows is not applied to the tensor but to its row numbers: they tell which rows a piece
of the output is read from. So memory is bounded by the piece, whatever the size of the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Tensor
from localllm.checkpoint.numbers import as_float32
from localllm.checkpoint.tensor import DTYPE_BYTES
from localllm.conversion.config import ModelConfig
from localllm.conversion.ops import Op
from localllm.conversion.plan import PlannedTensor
from localllm.conversion.sources import Rows
from localllm.conversion.workspace import Workspace
from localllm.errors import CheckpointError
from localllm.gguf_file.format import TensorType

PIECE_WEIGHTS = 1024 * 1024
# each piece of a transposed tensor reads all of it
_TRANSPOSED_PIECES = 4

Read = Callable[[Workspace], NDArray[Any]]


@dataclass(frozen=True)
class Piece:
    """Rows of one output tensor: `read` returns them, shape (rows, columns), in `dtype` of the checkpoint.

    bfloat16 comes as uint16. What `read` returns may lie in the workspace it is given. `source` is the
    name of the tensor in the checkpoint.
    """

    source: str
    kind: TensorType
    rows: int
    columns: int
    dtype: str
    read: Read


def pieces_of(planned: PlannedTensor, config: ModelConfig, weights: int = PIECE_WEIGHTS) -> Iterator[Piece]:
    """Yield the pieces of a tensor, in the order of the output, of about `weights` values.

    Raise CheckpointError for a tensor that a verb does not fit.
    """
    op, columns = planned.op, planned.entry.shape[0]
    if planned.computed is not None:
        values = planned.computed.values.astype("<f4").reshape(-1, columns)
        yield Piece(planned.entry.name, planned.entry.type, len(values), columns, "F32", lambda _: values)
    for part in planned.parts:
        dtype = part.tensor.dtype if op is None or op.moves_only else "F32"
        for rows, read in _reads(part, op, config, weights, columns):
            yield Piece(part.tensor.name, planned.entry.type, rows, columns, dtype, read)


def _reads(
    part: Rows, op: Op | None, config: ModelConfig, weights: int, columns: int
) -> Iterator[tuple[int, Read]]:
    """Yield how many rows of the output, `columns` wide, come next, and how to read them."""
    tensor = part.tensor
    is_matrix = len(tensor.shape) == 2
    if op is None:
        for first, count in _ranges(part.count, tensor.columns, weights):
            yield count, partial(_read_rows, tensor, part.first + first, count)
    elif op.rowwise:
        for first, count in _ranges(part.count, tensor.columns, weights):
            yield count, partial(_apply, op, config, tensor, part.first + first, count)
    elif op.swaps_axes and is_matrix:
        for first, count in _ranges(tensor.columns, part.count, weights * _TRANSPOSED_PIECES):
            yield count, partial(_read_columns, part, first, count, weights)
    elif op.moves_only and is_matrix:
        order = _moved(np.arange(part.count), op, config, tensor)
        for first, count in _ranges(part.count, tensor.columns, weights):
            yield count, partial(_gather_rows, tensor, part.first + order[first : first + count])
    else:
        rows = part.count * tensor.columns // columns
        yield rows, partial(_apply, op, config, tensor, part.first, part.count)


def _ranges(rows: int, columns: int, weights: int) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of whole rows that hold about `weights` values."""
    if columns == 0:
        return
    step = max(1, weights // columns)
    for first in range(0, rows, step):
        yield first, min(step, rows - first)


def _read_rows(tensor: Tensor, first: int, count: int, space: Workspace) -> NDArray[Any]:
    size = 0 if tensor.is_derived else count * tensor.columns * DTYPE_BYTES[tensor.dtype]
    return tensor.read_rows(first, count, space.scratch(size))


def _apply(
    op: Op, config: ModelConfig, tensor: Tensor, first: int, count: int, space: Workspace
) -> NDArray[Any]:
    """Apply a verb to the rows; one that moves elements of vectors gets the vector."""
    rows = _read_rows(tensor, first, count, space)
    if not op.moves_only:
        rows = as_float32(rows, tensor.dtype)
    return _moved(rows if op.rowwise else rows.reshape(tensor.shape), op, config, tensor)


def _gather_rows(tensor: Tensor, numbers: NDArray[np.intp], space: Workspace) -> NDArray[Any]:
    """Read the rows `numbers` in this order: neighbours in the file together, then each to its place."""
    places = np.argsort(numbers)
    wanted = numbers[places]
    breaks = np.flatnonzero(np.diff(wanted) != 1) + 1
    gathered: NDArray[Any] | None = None
    for begin, end in zip([0, *breaks], [*breaks, len(wanted)], strict=True):
        rows = _read_rows(tensor, int(wanted[begin]), int(end - begin), space)
        if gathered is None:
            gathered = space.array("gathered", (len(numbers), tensor.columns), rows.dtype)
        gathered[places[begin:end]] = rows
    assert gathered is not None
    return gathered


def _read_columns(part: Rows, first: int, count: int, weights: int, space: Workspace) -> NDArray[Any]:
    """Read columns [first, first + count) of a part as rows."""
    tensor = part.tensor
    turned: NDArray[Any] | None = None
    for row, rows in _ranges(part.count, tensor.columns, weights):
        values = _read_rows(tensor, part.first + row, rows, space)
        if turned is None:
            turned = space.array("turned", (count, part.count), values.dtype)
        turned[:, row : row + rows] = values[:, first : first + count].T
    assert turned is not None
    return turned


def _moved(values: NDArray[Any], op: Op, config: ModelConfig, tensor: Tensor) -> NDArray[Any]:
    try:
        return op.apply(values, config)
    except ValueError:
        raise CheckpointError(
            f"tensor `{tensor.name}` of shape {list(tensor.shape)} does not fit the heads in config.json"
        ) from None
