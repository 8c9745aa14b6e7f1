"""Writes a planned conversion to its files: header first, then tensor after tensor, in the plan's order."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from localllm.conversion.config import ModelConfig
from localllm.conversion.encode import encode_piece
from localllm.conversion.ordered import in_order
from localllm.conversion.pieces import pieces_of
from localllm.conversion.plan import ConversionPlan, PlannedTensor
from localllm.conversion.shards import Shard, shard_metadata
from localllm.conversion.workspace import Workspace
from localllm.events import Advanced, Emit, Finished, Started
from localllm.gguf_file.header import TensorInfo
from localllm.gguf_file.writer import GGUFWriter, Metadata, layout
from localllm.machine import usable_cores
from localllm.write_behind import WriteBehind

# More threads do not help: reading and writing take one core each. Memory grows with them.
_MAX_THREADS = 4


def data_bytes(plan: ConversionPlan) -> int:
    """Return how many bytes the tensors of `plan` take, padding aside."""
    return _data_bytes(plan.tensors)


def write_model(
    paths: Sequence[Path],
    shards: Sequence[Shard],
    metadata: Metadata,
    config: ModelConfig,
    emit: Emit,
    threads: int | None = None,
) -> int:
    """Write the tensors of each of `shards` to its path; return the size of all files in bytes.

    Raise CheckpointError for weights the types cannot hold, OSError for what the file system refuses.
    """
    progress = _Progress(shards, emit)
    total = 0
    with closing(_encoded(shards, config, threads)) as pieces:
        for path, shard, header in zip(paths, shards, shard_metadata(metadata, shards), strict=True):
            with WriteBehind(path, _data_bytes(shard)) as file:
                writer = GGUFWriter(file, header, (tensor.entry for tensor in shard))
                for tensor in writer.tensors:
                    writer.write_tensor(tensor.name, _first_bytes(pieces, tensor.size_bytes))
                    progress.advance(tensor)
                writer.finish()
            total += writer.total_bytes
    emit(Finished("convert"))
    return total


def check_weights(plan: ConversionPlan, config: ModelConfig, emit: Emit, threads: int | None = None) -> None:
    """Do all that `write_model` does, but write nothing. Raise CheckpointError as it does."""
    progress = _Progress([plan.tensors], emit)
    with closing(_encoded([plan.tensors], config, threads)) as pieces:
        for tensor in layout(tensor.entry for tensor in plan.tensors):
            for _ in _first_bytes(pieces, tensor.size_bytes):
                pass
            progress.advance(tensor)
    emit(Finished("convert"))


class _Progress:
    def __init__(self, shards: Sequence[Shard], emit: Emit) -> None:
        self._emit = emit
        self._done = 0
        emit(Started("convert", sum(map(_data_bytes, shards)), "bytes"))

    def advance(self, tensor: TensorInfo) -> None:
        self._done += tensor.size_bytes
        self._emit(Advanced("convert", self._done, tensor.name))


def _encoded(
    shards: Sequence[Shard], config: ModelConfig, threads: int | None
) -> Generator[memoryview, None, None]:
    """Yield the pieces of all tensors; each is overwritten some time after the next is asked for."""
    threads = threads or min(_MAX_THREADS, usable_cores())
    pieces = (piece for shard in shards for tensor in shard for piece in pieces_of(tensor, config))
    return in_order(pieces, encode_piece, [Workspace() for _ in range(threads + 2)], threads)


def _first_bytes(pieces: Iterator[memoryview], size: int) -> Iterator[memoryview]:
    """Yield the next pieces that make `size` bytes together."""
    while size > 0:
        piece = next(pieces)
        size -= len(piece)
        yield piece


def _data_bytes(tensors: Iterable[PlannedTensor]) -> int:
    return sum(tensor.size_bytes for tensor in layout(tensor.entry for tensor in tensors))
