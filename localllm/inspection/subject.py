"""What can be inspected, whatever it is: each kind of file knows how to tell about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from localllm.errors import NotFoundError, UsageError
from localllm.events import Emit, ignore

if TYPE_CHECKING:
    from localllm.inspection.description import ModelDescription
    from localllm.inspection.header_set import HeaderSet
    from localllm.inspection.rendering import RenderedTemplate
    from localllm.inspection.tensor_list import TensorDescription


class Subject(ABC):
    """Something to inspect; `label` is what the user calls it. Every method may raise a LocalLLMError."""

    label: str

    @abstractmethod
    def describe(self, emit: Emit = ignore) -> ModelDescription:
        """Return everything there is to say about it."""

    @abstractmethod
    def tensors(self) -> list[TensorDescription]:
        """Return its tensors in their order."""

    @abstractmethod
    def metadata(self, key: str | None = None) -> dict[str, Any]:
        """Return what it says in words, all of it in short, or the value of one key whole."""

    def template(self) -> RenderedTemplate:
        """Return its chat template and what that makes of a short conversation. Raise NotFoundError."""
        raise NotFoundError(f"{self.label} has no chat template", hint="only models have one")

    def headers(self) -> HeaderSet:
        """Return it as GGUF headers, to be compared. Raise UsageError where that makes no sense."""
        raise UsageError(
            f"{self.label} cannot be compared", hint="`--diff` compares GGUF files, and checkpoints as GGUF"
        )
