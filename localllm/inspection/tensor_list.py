"""The tensors of a model, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localllm.inspection.header_set import HeaderSet, read_headers


@dataclass(frozen=True)
class TensorDescription:
    """One tensor; `shape` in ggml order (row length first) for GGUF files, else as the file has it.

    `offset` is from the start of its file, `file` the name of that where a model has several.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    size_bytes: int
    offset: int
    file: str = ""


def tensor_descriptions(path: Path) -> list[TensorDescription]:
    """List the tensors of the GGUF file at `path`; of a split model those of all its files."""
    return tensors_in(read_headers(path))


def tensors_in(found: HeaderSet) -> list[TensorDescription]:
    """List the tensors of a model in the order of its files."""
    is_split = len(found.files) > 1
    return [
        TensorDescription(
            name=tensor.name,
            shape=tensor.shape,
            type=tensor.type.name,
            size_bytes=tensor.size_bytes,
            offset=file.header.data_offset + tensor.offset,
            file=file.label.replace("\\", "/").rpartition("/")[2] if is_split else "",
        )
        for file in found.files
        for tensor in file.header.tensors
    ]
