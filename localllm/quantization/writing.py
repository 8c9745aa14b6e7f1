"""Quantizes in a child process: reads every weight once and writes the files of all levels side by side.

llama.cpp's own driver reads, computes and writes in turn and waits for its threads after every tensor; here
threads work on pieces of any tensor while the files are written behind them. The bytes are the same: rows do
not depend on each other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from localllm.conversion.ordered import in_order
from localllm.conversion.workspace import Workspace
from localllm.events import Advanced, Emit, Finished, Started
from localllm.gguf_file.format import DEFAULT_ALIGNMENT, TENSOR_TYPES_BY_NAME, TensorType
from localllm.imatrix.matrix import ImportanceMatrix
from localllm.imatrix.reading import read_imatrix
from localllm.native.kernels import kernels
from localllm.native.worker import Worker
from localllm.publication import translated_errors
from localllm.quantization.encoding import Encoded, Encoding, encode
from localllm.quantization.plan import LevelPlan
from localllm.quantization.source import PiecesOf, QuantizationSource
from localllm.quantization.weights import open_weights
from localllm.write_behind import WriteBehind

_STEP = "quantize"


@dataclass(frozen=True)
class Target:
    """A file to write to, and what it will be called when it is complete."""

    part: Path
    final: Path


def write_levels(
    source: QuantizationSource,
    plans: Sequence[LevelPlan],
    targets: Sequence[Sequence[Target]],
    *,
    matrix: Path | None,
    threads: int,
    piece_weights: int,
    worker: Worker | None,
    emit: Emit,
) -> list[float]:
    """Write the files of every plan to its `targets`, in a child process; return the seconds each level took.

    The child is `worker`, which is ended here, or a new one. The levels share the time by what encoding them
    took. The plans have the same tensors in the same order. `threads` work on pieces of about `piece_weights`
    weights. Raise QuantizationError, CheckpointError, StorageError or NativeCrashError; partial files may
    then remain.
    """
    for plan, own in zip(plans, targets, strict=True):
        for file, target in zip(plan.files, own, strict=True):
            target.part.write_bytes(file.header)  # the child begins with what it finds there
    arguments = {
        "weights": source.weights,
        "files": [_file(plans, number) for number in range(len(plans[0].files))],
        "targets": [[[str(target.part), str(target.final)] for target in own] for own in targets],
        "matrix": None if matrix is None else str(matrix),
        "threads": threads,
        "piece_weights": piece_weights,
    }
    with worker or Worker() as child:
        child.begin("localllm.quantization.writing:write_job", arguments)
        return list(child.result(emit))


def _file(plans: Sequence[LevelPlan], number: int) -> list[dict[str, Any]]:
    """Describe the tensors of file `number`, which all plans have alike but for the types."""
    rows = zip(*(plan.files[number].tensors for plan in plans), strict=True)
    return [
        {
            "name": row[0].source.name,
            "shape": row[0].source.shape,
            "bytes": row[0].source.size_bytes,
            "kinds": [tensor.output.type.name for tensor in row],
        }
        for row in rows
    ]


def write_job(arguments: dict[str, Any], emit: Emit) -> list[float]:
    """Serve `write_levels` in the child."""
    begin = time.perf_counter()
    kernels()  # decided before the threads begin
    files = [[_Tensor.read(entry) for entry in file] for file in arguments["files"]]
    matrix = read_imatrix(Path(arguments["matrix"])) if arguments["matrix"] else None
    pieces_of = open_weights(arguments["weights"])
    threads = arguments["threads"]
    jobs = _jobs(files, pieces_of, matrix, arguments["piece_weights"])
    spaces = [Workspace() for _ in range(pieces_in_memory(threads))]
    progress = _Progress(files, len(arguments["targets"]), emit)
    with closing(in_order(jobs, encode, spaces, threads)) as encoded:
        for number, tensors in enumerate(files):
            targets = [Target(*map(Path, own[number])) for own in arguments["targets"]]
            _write_files(targets, tensors, encoded, progress)
    emit(Finished(_STEP))
    return progress.share(time.perf_counter() - begin)


def pieces_in_memory(threads: int) -> int:
    """Return how many pieces are held at once: small tensors let threads run ahead of a large one."""
    return 2 * threads + 2


@dataclass(frozen=True)
class _Tensor:
    """One tensor of the source, and its type in the file of each level."""

    name: str
    shape: tuple[int, ...]
    size_bytes: int
    kinds: tuple[TensorType, ...]

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> _Tensor:
        kinds = tuple(TENSOR_TYPES_BY_NAME[name] for name in entry["kinds"])
        return cls(entry["name"], tuple(entry["shape"]), entry["bytes"], kinds)

    @property
    def rows(self) -> int:
        return math.prod(self.shape[1:])


class _Progress:
    """Tells how far the weights are read, and keeps the books of what each level took."""

    def __init__(self, files: Sequence[Sequence[_Tensor]], levels: int, emit: Emit) -> None:
        self._emit = emit
        self._done = 0
        self._seconds = [0.0] * levels
        emit(Started(_STEP, sum(tensor.size_bytes for file in files for tensor in file), "bytes"))

    def advance(self, tensor: _Tensor, rows: int, encoded: Encoded) -> None:
        self._done += tensor.size_bytes * rows // max(1, tensor.rows)
        for level, kind in enumerate(tensor.kinds):
            self._seconds[level] += encoded.seconds[kind.name] / tensor.kinds.count(kind)
        self._emit(Advanced(_STEP, self._done, tensor.name))

    def share(self, seconds: float) -> list[float]:
        """Divide `seconds` among the levels."""
        total = sum(self._seconds)
        return [seconds * (own / total if total else 1 / len(self._seconds)) for own in self._seconds]


def _jobs(
    files: Sequence[Sequence[_Tensor]], pieces_of: PiecesOf, matrix: ImportanceMatrix | None, weights: int
) -> Iterator[Encoding]:
    for tensor in (tensor for file in files for tensor in file):
        importance = None if matrix is None else matrix.entries.get(tensor.name)
        matrices = math.prod(tensor.shape[2:])
        if importance is not None:
            fits = importance.size == tensor.shape[0] * matrices
            importance = importance.reshape(matrices, -1) if fits else None
        rows = tensor.shape[1] if len(tensor.shape) > 1 else 1
        for piece in pieces_of(tensor.name, weights):
            yield Encoding(piece, tuple(dict.fromkeys(tensor.kinds)), importance, rows)


def _write_files(
    targets: Sequence[Target], tensors: Sequence[_Tensor], encoded: Iterator[Encoded], progress: _Progress
) -> None:
    """Write one file of every level."""
    with ExitStack() as stack:
        outputs = [
            stack.enter_context(_Output(target, _data_bytes(tensors, level)))
            for level, target in enumerate(targets)
        ]
        for tensor in tensors:
            written = 0
            while written < tensor.rows:
                piece = next(encoded)
                for output, kind in zip(outputs, tensor.kinds, strict=True):
                    output.write(piece.data[kind.name])
                written += piece.rows
                progress.advance(tensor, piece.rows, piece)
            for output, kind in zip(outputs, tensor.kinds, strict=True):
                output.write(bytes(-tensor.rows * kind.row_bytes(tensor.shape[0]) % DEFAULT_ALIGNMENT))


def _data_bytes(tensors: Sequence[_Tensor], level: int) -> int:
    sizes = (tensor.rows * tensor.kinds[level].row_bytes(tensor.shape[0]) for tensor in tensors)
    return sum(size + -size % DEFAULT_ALIGNMENT for size in sizes)


class _Output:
    """A file of one level, begun with the header that lies in its part; errors name the final file."""

    def __init__(self, target: Target, data_bytes: int) -> None:
        self._final = target.final
        with translated_errors(self._final):
            header = target.part.read_bytes()
            self._file = WriteBehind(target.part, len(header) + data_bytes)
        self._file.write(header)

    def __enter__(self) -> _Output:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with translated_errors(self._final):
            self._file.__exit__(kind, error, trace)

    def write(self, data: bytes | memoryview) -> None:
        with translated_errors(self._final):
            self._file.write(data)
