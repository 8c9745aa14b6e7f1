"""Importance matrices: what they were measured on and which weights they cover, not their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import ValueType
from localllm.inspection.problem import Problem

_LAYER = re.compile(r"blk\.(\d+)\.")
_MAX_DATASETS = 1000


@dataclass(frozen=True)
class Imatrix:
    """An importance matrix: the weights it covers, of how many layers and experts; `chunk_size` in tokens."""

    entries: int
    layers: int
    experts: int
    datasets: tuple[str, ...]
    chunks: int
    chunk_size: int
    format: str


def imatrix_of(header: GGUFHeader) -> Imatrix:
    """Return the matrix that a GGUF file holds, from its header."""
    from localllm.imatrix.writing import CHUNK_COUNT, CHUNK_SIZE, COUNTS, DATASETS  # with numpy

    counts = [tensor for tensor in header.tensors if tensor.name.endswith(COUNTS)]
    datasets = header.array(DATASETS)
    is_readable = (
        datasets is not None and datasets.item_type is ValueType.STRING and len(datasets) <= _MAX_DATASETS
    )
    return Imatrix(
        entries=len(counts),
        layers=_layers(tensor.name for tensor in counts),
        experts=max((tensor.parameters for tensor in counts), default=1),
        datasets=tuple(map(str, datasets.decode())) if datasets is not None and is_readable else (),
        chunks=header.integer(CHUNK_COUNT) or 0,
        chunk_size=header.integer(CHUNK_SIZE) or 0,
        format="GGUF",
    )


def imatrix_problems(header: GGUFHeader) -> list[Problem]:
    """Return what llama-quantize would refuse of a matrix."""
    from localllm.imatrix.writing import CHUNK_COUNT, CHUNK_SIZE, COUNTS, DATASETS, SUMS

    problems = [
        Problem("imatrix", f"it lacks `{key}`")
        for key in (DATASETS, CHUNK_COUNT, CHUNK_SIZE)
        if key not in header.metadata
    ]
    sums, counts = (
        {t.name.removesuffix(suffix) for t in header.tensors if t.name.endswith(suffix)}
        for suffix in (SUMS, COUNTS)
    )
    if sums ^ counts:
        name = min(sums ^ counts)
        problems.append(Problem("imatrix", f"`{name}` has {'no counts' if name in sums else 'no sums'}"))
    if not sums | counts:
        problems.append(Problem("imatrix", "it has no entries"))
    return problems


def read_legacy_imatrix(path: Path) -> tuple[Imatrix, int]:
    """Read a matrix in the older format; return it and how many numbers it holds.

    Its numbers are read and checked, because only they tell where the next entry is.
    """
    from localllm.imatrix.reading import read_imatrix

    matrix = read_imatrix(path)
    found = Imatrix(
        entries=len(matrix.entries),
        layers=_layers(matrix.entries),
        experts=1,
        datasets=matrix.datasets,
        chunks=matrix.chunks,
        chunk_size=matrix.chunk_size,
        format="legacy",
    )
    return found, sum(values.size for values in matrix.entries.values())


def _layers(names: Iterable[str]) -> int:
    return len({match[1] for name in names if (match := _LAYER.match(name))})
