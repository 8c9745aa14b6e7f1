"""GGUF files to inspect: on disk, on a server or in a pipe, as long as their headers could be read.

What is only asked for by an option is loaded then: looking at a model should take no longer than it must.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localllm.errors import NotFoundError
from localllm.events import Emit, ignore
from localllm.inspection.gguf_description import describe_set
from localllm.inspection.subject import Subject

if TYPE_CHECKING:
    from localllm.inspection.description import ModelDescription
    from localllm.inspection.header_set import HeaderSet
    from localllm.inspection.rendering import RenderedTemplate
    from localllm.inspection.tensor_list import TensorDescription


class GGUFSubject(Subject):
    """The headers of a GGUF model, one or those of all its files."""

    def __init__(self, headers: HeaderSet) -> None:
        self.label = headers.label
        self._headers = headers

    def describe(self, emit: Emit = ignore) -> ModelDescription:
        return describe_set(self._headers)

    def tensors(self) -> list[TensorDescription]:
        from localllm.inspection.tensor_list import tensors_in

        return tensors_in(self._headers)

    def metadata(self, key: str | None = None) -> dict[str, Any]:
        from localllm.inspection.metadata import metadata_in

        return metadata_in(self._headers.whole, self.label, key)

    def template(self) -> RenderedTemplate:
        from localllm.inspection.rendering import render_template

        found = render_template(self._headers.whole)
        if found is None:
            raise NotFoundError(
                f"{self.label} has no chat template",
                hint="chat runs as plain completion; convert the checkpoint with its chat_template.jinja",
            )
        return found

    def headers(self) -> HeaderSet:
        return self._headers
