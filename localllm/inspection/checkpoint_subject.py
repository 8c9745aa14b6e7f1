"""A checkpoint directory to inspect: as it is, and as the GGUF file a conversion would make of it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from localllm.assembly import Recipe
from localllm.checkpoint import Checkpoint, open_without_weights
from localllm.checkpoint.tensor import StoredTensor
from localllm.checkpoint.weights import open_weights
from localllm.conversion.special_tokens import chat_template_metadata
from localllm.conversion.tokens import token_text
from localllm.errors import NotFoundError
from localllm.events import Emit, ignore
from localllm.gguf_file.format import Key
from localllm.inspection.checkpoint_description import describe_checkpoint
from localllm.inspection.description import ModelDescription
from localllm.inspection.header_set import HeaderFile, HeaderSet, join_headers
from localllm.inspection.json_values import values_in
from localllm.inspection.rendering import RenderedTemplate, render
from localllm.inspection.safetensors import safetensors_list
from localllm.inspection.subject import Subject
from localllm.inspection.tensor_list import TensorDescription
from localllm.quantization.checkpoint_source import checkpoint_source


class CheckpointSubject(Subject):
    """A checkpoint directory; of its weights only the headers are read, so they may be holes."""

    def __init__(self, directory: Path) -> None:
        self.label = str(directory)
        self._directory = directory

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        return open_without_weights(self._directory)

    def describe(self, emit: Emit = ignore) -> ModelDescription:
        return describe_checkpoint(self._checkpoint, emit)

    def tensors(self) -> list[TensorDescription]:
        return safetensors_list(dict.fromkeys(tensor.path for tensor in self._weights().values()))

    def metadata(self, key: str | None = None) -> dict[str, Any]:
        return values_in(self._checkpoint.config, f"{self.label}/config.json", key)

    def template(self) -> RenderedTemplate:
        found = chat_template_metadata(self._checkpoint).get(str(Key.CHAT_TEMPLATE))
        if found is None:
            raise NotFoundError(
                f"{self.label} has no chat template",
                hint="if it was tuned with its base model's, copy chat_template.jinja from there",
            )
        settings = self._checkpoint.tokenizer_config
        bos, eos = (token_text(settings.get(f"{kind}_token")) or "" for kind in ("bos", "eos"))
        return render(str(found.value), bos=bos, eos=eos)

    def headers(self) -> HeaderSet:
        source = checkpoint_source(Recipe(self._directory))
        return join_headers(self.label, [HeaderFile(self.label, header) for header in source.headers])

    def _weights(self) -> dict[str, StoredTensor]:
        return open_weights(self._directory)
