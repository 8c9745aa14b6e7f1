"""A LoRA adapter's directory to inspect, as PEFT or MLX saves it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localllm.adapters import open_adapter
from localllm.adapters.settings import CONFIG_NAME
from localllm.checkpoint import read_json, read_safetensors
from localllm.checkpoint.tensor import StoredTensor
from localllm.errors import CheckpointError, LocalLLMError
from localllm.events import Emit, ignore
from localllm.inspection.adapters import Adapter, adapter_in_settings, checked_adapter, tensor_files
from localllm.inspection.description import FileEntry, ModelDescription
from localllm.inspection.json_values import values_in
from localllm.inspection.kind import Kind
from localllm.inspection.problem import Problem
from localllm.inspection.safetensors import safetensors_list, stored, totals
from localllm.inspection.storage import type_shares
from localllm.inspection.subject import Subject
from localllm.inspection.tensor_list import TensorDescription


class AdapterSubject(Subject):
    """An adapter's directory. What cannot be converted is described as far as it can be read."""

    def __init__(self, directory: Path) -> None:
        self.label = str(directory)
        self._directory = directory

    def describe(self, emit: Emit = ignore) -> ModelDescription:
        settings = self._settings()
        problems: list[Problem] = []
        adapter, tensors = adapter_in_settings(settings), self._weights(problems)
        try:
            adapter = self._checked()
        except LocalLLMError as error:
            problems.append(Problem(error.code, error.message, error.hint))
        parameters, size = totals(tensors)
        files = tensor_files(self._directory)
        return ModelDescription(
            kind=Kind.ADAPTER,
            path=self.label,
            name=self._directory.resolve().name,
            size_bytes=sum(path.stat().st_size for path in files),
            parameters=parameters,
            bits_per_weight=size * 8 / max(1, parameters),
            tensors=len(tensors),
            files=tuple(FileEntry(str(path), path.stat().st_size) for path in files),
            types=type_shares(stored(tensors)),
            adapter=adapter,
            problems=tuple(dict.fromkeys(problems)),
        )

    def tensors(self) -> list[TensorDescription]:
        return safetensors_list(tensor_files(self._directory))

    def metadata(self, key: str | None = None) -> dict[str, Any]:
        return values_in(self._settings(), f"{self.label}/{CONFIG_NAME}", key)

    def _checked(self) -> Adapter:
        return checked_adapter(open_adapter(self._directory))

    def _settings(self) -> Mapping[str, Any]:
        path = self._directory / CONFIG_NAME
        settings = read_json(path)
        if not isinstance(settings, Mapping):
            raise CheckpointError(
                f"{path} does not hold a JSON object", hint="copy the one saved with these weights"
            )
        return settings

    def _weights(self, problems: list[Problem]) -> list[StoredTensor]:
        try:
            return [t for path in tensor_files(self._directory) for t in read_safetensors(path)]
        except LocalLLMError as error:
            problems.append(Problem(error.code, error.message, error.hint))
            return []
