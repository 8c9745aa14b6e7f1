"""Describes one safetensors file: its tensors, their types, and what it says in words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from localllm.checkpoint import DTYPE_BYTES, Tensor, read_safetensors
from localllm.checkpoint.tensor import StoredTensor
from localllm.inspection.description import FileEntry, ModelDescription
from localllm.inspection.kind import Kind
from localllm.inspection.problem import Problem
from localllm.inspection.storage import type_shares
from localllm.inspection.tensor_list import TensorDescription

SUFFIX = ".safetensors"
_METADATA = "__metadata__"


def describe_safetensors(path: Path) -> ModelDescription:
    """Describe the safetensors file at `path`. Raise CheckpointError."""
    tensors = list(read_safetensors(path))
    parameters, size = totals(tensors)
    return ModelDescription(
        kind=Kind.WEIGHTS,
        path=str(path),
        name=path.stem,
        size_bytes=path.stat().st_size,
        parameters=parameters,
        bits_per_weight=size * 8 / max(1, parameters),
        tensors=len(tensors),
        files=(FileEntry(str(path), path.stat().st_size),),
        types=type_shares(stored(tensors)),
        metadata=words(path),
        problems=tuple(_problems(path, tensors)),
    )


def safetensors_list(paths: Iterable[Path]) -> list[TensorDescription]:
    """List the tensors of safetensors files, file by file, by name."""
    files = list(paths)
    return [
        TensorDescription(
            name=tensor.name,
            shape=tensor.shape,
            type=tensor.dtype,
            size_bytes=tensor.size_bytes,
            offset=tensor.offset,
            file=path.name if len(files) > 1 else "",
        )
        for path in files
        for tensor in read_safetensors(path)
    ]


def stored(tensors: Iterable[StoredTensor]) -> Iterable[tuple[str, int, int]]:
    """Return (type, parameters, bytes) of each tensor."""
    return ((tensor.dtype, tensor.rows * tensor.columns, tensor.size_bytes) for tensor in tensors)


def totals(tensors: Iterable[StoredTensor]) -> tuple[int, int]:
    """Return the number of weights and of their bytes."""
    sizes = [(tensor.rows * tensor.columns, tensor.size_bytes) for tensor in tensors]
    return sum(count for count, _ in sizes), sum(size for _, size in sizes)


def words(path: Path) -> dict[str, str]:
    """Return the `__metadata__` of a file that was read before."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    found = header.get(_METADATA)
    return dict(found) if isinstance(found, dict) else {}


def _problems(path: Path, tensors: Iterable[Tensor]) -> Iterable[Problem]:
    foreign = sorted({tensor.dtype for tensor in tensors} - DTYPE_BYTES.keys())
    if foreign:
        yield Problem("dtype", f"it holds tensors of type {', '.join(foreign)}, which cannot be converted")
    if (path.parent / "config.json").is_file():
        yield Problem(
            "checkpoint",
            "it belongs to a checkpoint: what is told here is this file's",
            f"`localllm inspect {path.parent}` shows the model",
        )
