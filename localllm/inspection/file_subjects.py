"""Files other than GGUF to inspect: safetensors, and importance matrices in the older format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localllm.errors import UsageError
from localllm.events import Emit, ignore
from localllm.inspection.description import FileEntry, ModelDescription
from localllm.inspection.json_values import values_in
from localllm.inspection.kind import Kind
from localllm.inspection.matrices import read_legacy_imatrix
from localllm.inspection.safetensors import describe_safetensors, safetensors_list, words
from localllm.inspection.subject import Subject
from localllm.inspection.tensor_list import TensorDescription


class SafetensorsSubject(Subject):
    """One safetensors file."""

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        self._path = path

    def describe(self, emit: Emit = ignore) -> ModelDescription:
        return describe_safetensors(self._path)

    def tensors(self) -> list[TensorDescription]:
        return safetensors_list([self._path])

    def metadata(self, key: str | None = None) -> dict[str, Any]:
        self.tensors()  # which validates the file
        return values_in(words(self._path), self.label, key)


class LegacyImatrixSubject(Subject):
    """An importance matrix in the format before GGUF, which has neither tensors nor metadata."""

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        self._path = path

    def describe(self, emit: Emit = ignore) -> ModelDescription:
        matrix, numbers = read_legacy_imatrix(self._path)
        size = self._path.stat().st_size
        return ModelDescription(
            kind=Kind.IMATRIX,
            path=self.label,
            name=self._path.stem,
            size_bytes=size,
            parameters=numbers,
            files=(FileEntry(self.label, size),),
            imatrix=matrix,
        )

    def tensors(self) -> list[TensorDescription]:
        raise self._has_none("tensors")

    def metadata(self, key: str | None = None) -> dict[str, Any]:
        raise self._has_none("metadata")

    def _has_none(self, what: str) -> UsageError:
        return UsageError(
            f"{self.label} is an importance matrix in the older format, which has no {what}",
            hint="leave out `--tensors` and `--kv`",
        )
