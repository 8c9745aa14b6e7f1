"""What inspecting something tells: one object for every kind of file, with the sections that apply to it.

Sizes are in bytes, counts are whole; what is not known is None or empty. Its fields are the JSON of
`localllm inspect --json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localllm.inspection.identity import Identity
from localllm.inspection.kind import Kind
from localllm.inspection.problem import Problem

if TYPE_CHECKING:
    from localllm.inspection.adapters import Adapter
    from localllm.inspection.dimensions import Dimensions
    from localllm.inspection.fit import Memory
    from localllm.inspection.matrices import Imatrix
    from localllm.inspection.projectors import Encoder
    from localllm.inspection.sizes import Source
    from localllm.inspection.storage import TypeShare
    from localllm.inspection.template import Template
    from localllm.inspection.vocabulary import Vocabulary


@dataclass(frozen=True)
class FileEntry:
    """One file that was read."""

    path: str
    size_bytes: int


@dataclass(frozen=True)
class ModelDescription:
    """What a model, an adapter or another file says of itself, and what its tensors say about it.

    `path` is what was looked at; sizes and counts are those of all `files`. `active_parameters` is set where
    not all of them work on a token. `metadata` is what a safetensors file says in words.
    """

    kind: Kind
    path: str
    name: str = ""
    architecture: str = ""
    level: str = ""
    size_bytes: int = 0
    parameters: int = 0
    active_parameters: int | None = None
    bits_per_weight: float = 0.0
    tensors: int = 0
    files: tuple[FileEntry, ...] = ()
    identity: Identity = field(default_factory=Identity)
    dimensions: Dimensions | None = None
    types: tuple[TypeShare, ...] = ()
    vocabulary: Vocabulary | None = None
    template: Template | None = None
    sampling: Mapping[str, int | float | str] = field(default_factory=dict)
    memory: Memory | None = None
    adapter: Adapter | None = None
    imatrix: Imatrix | None = None
    encoders: tuple[Encoder, ...] = ()
    source: Source | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def context_length(self) -> int | None:
        """Return how many tokens the model was trained for."""
        return self.dimensions.context_length if self.dimensions else None
