"""Encodes a piece of the weights in every type that some level wants it in; the work of one thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.conversion.workspace import Workspace
from localllm.errors import QuantizationError
from localllm.gguf_file.format import TensorType
from localllm.native.rows import are_valid_rows, decode_rows, encode_rows
from localllm.quantization.source import SourcePiece

# what is decoded and encoded at a time: it stays in the processor's cache between the two
_SLICE_WEIGHTS = 128 * 1024


@dataclass(frozen=True)
class Encoding:
    """A piece and the types wanted, each once. `importance`, if any, has a row for each matrix of the tensor.

    `rows_per_matrix` tells which rows of the piece belong to which.
    """

    piece: SourcePiece
    kinds: tuple[TensorType, ...]
    importance: NDArray[np.float32] | None
    rows_per_matrix: int


@dataclass(frozen=True)
class Encoded:
    """The bytes of `rows` rows by type, in a workspace, and how long each took, in seconds."""

    rows: int
    data: dict[str, memoryview]
    seconds: dict[str, float]


def encode(job: Encoding, space: Workspace) -> Encoded:
    """Return a piece in all its types. Raise QuantizationError when one cannot hold the values."""
    piece = job.piece
    begin = time.perf_counter()
    source = piece.read(space)
    targets = {
        kind.name: space.array(kind.name, (piece.rows, kind.row_bytes(piece.columns)), np.uint8)
        for kind in job.kinds
        if kind != piece.type
    }
    seconds = {kind.name: 0.0 for kind in job.kinds}
    shared = time.perf_counter() - begin
    for first, count, weights in _slices(job) if targets else ():
        begin = time.perf_counter()
        values = space.array("float32", (count, piece.columns), np.float32)
        decode_rows(source[first : first + count], piece.type, values)
        shared += time.perf_counter() - begin
        for kind in job.kinds:
            if kind.name in targets:
                seconds[kind.name] += _encode(
                    values, kind, targets[kind.name][first : first + count], weights, piece
                )
    data = {name: _bytes(targets.get(name, source)) for name in seconds}
    return Encoded(piece.rows, data, {name: own + shared / len(seconds) for name, own in seconds.items()})


def _encode(
    values: NDArray[np.float32],
    kind: TensorType,
    target: NDArray[np.uint8],
    importance: NDArray[np.float32] | None,
    piece: SourcePiece,
) -> float:
    """Encode `values` to `target`; return how many seconds it took."""
    begin = time.perf_counter()
    encode_rows(values, kind, target, importance)
    if not are_valid_rows(target, kind):
        raise QuantizationError(
            f"tensor `{piece.tensor}` has values too large for {kind.name}",
            hint="BF16 and F32 hold them; choose that type for it with `--tensor-type`, or another level",
        )
    return time.perf_counter() - begin


def _slices(job: Encoding) -> Iterator[tuple[int, int, NDArray[np.float32] | None]]:
    """Yield the first row, the number of rows and the importance of slices that lie in one matrix each."""
    piece = job.piece
    step = max(1, _SLICE_WEIGHTS // piece.columns)
    first = 0
    while first < piece.rows:
        matrix, row = divmod(piece.first_row + first, job.rows_per_matrix)
        count = min(step, piece.rows - first, job.rows_per_matrix - row)
        yield first, count, None if job.importance is None else job.importance[matrix]
        first += count


def _bytes(values: NDArray[Any]) -> memoryview:
    return values.reshape(-1).data.cast("B")
