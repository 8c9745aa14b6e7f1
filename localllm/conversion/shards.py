"""Shares the tensors of a model out among several files, as llama.cpp's converter does.

llama.cpp opens the first file and finds the others by their names. All metadata is in the first; every file
says which one it is, of how many, and how many tensors they have together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from localllm.conversion.plan import PlannedTensor
from localllm.conversion.verify import verify_header
from localllm.errors import UsageError
from localllm.gguf_file import read_header
from localllm.gguf_file.split_keys import split_metadata
from localllm.gguf_file.writer import Metadata, layout

_MAX_FILES = 65_535  # split.count is a uint16

Shard = tuple[PlannedTensor, ...]


def shards_of(tensors: Sequence[PlannedTensor], max_bytes: int | None) -> list[Shard]:
    """Cut the list of tensors so that no file has more than `max_bytes` of them, but one larger tensor.

    Sizes are those of the data alone; `None` means one file. Raise UsageError when there would be too many.
    """
    shards: list[list[PlannedTensor]] = [[]]
    filled = 0
    sizes = [info.size_bytes for info in layout(tensor.entry for tensor in tensors)]
    for tensor, size in zip(tensors, sizes, strict=True):
        if max_bytes is not None and shards[-1] and filled + size > max_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += size
    if len(shards) > _MAX_FILES:
        raise UsageError(
            f"a model cannot be split into {len(shards)} files", hint="choose a larger `--split-max-size`"
        )
    return [tuple(shard) for shard in shards]


def shard_metadata(metadata: Metadata, shards: Sequence[Shard]) -> Iterator[Metadata]:
    """Yield the metadata of each file; a single one has nothing about splitting."""
    if len(shards) == 1:
        yield metadata
        return
    tensors = sum(map(len, shards))
    for number in range(len(shards)):
        own = split_metadata(number, len(shards), tensors)
        yield own if number else {**metadata, **own}


def verify_files(parts: Sequence[Path], targets: Sequence[Path]) -> None:
    """Re-read the headers of `parts`, which become `targets`.

    Raise InvalidGGUFError when llama.cpp could not load the model.
    """
    verify_header(parts[0], targets[0].name)
    for part in parts[1:]:
        read_header(part)
