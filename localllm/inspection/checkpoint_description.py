"""Describes a checkpoint: what it holds, what a conversion would make of it, and every level's exact size.

It goes on behind what a conversion would refuse, which becomes a problem, as far as there is more to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from localllm.assembly import Recipe
from localllm.checkpoint import Checkpoint
from localllm.checkpoint.tensor import StoredTensor
from localllm.checkpoint.weights import open_weights
from localllm.conversion.special_tokens import chat_template_metadata
from localllm.errors import LocalLLMError
from localllm.events import Emit, Event, Notice
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key
from localllm.inspection.config_dimensions import config_dimensions, config_vocabulary
from localllm.inspection.description import FileEntry, ModelDescription
from localllm.inspection.gguf_description import describe_set
from localllm.inspection.header_set import HeaderFile, join_headers
from localllm.inspection.kind import Kind
from localllm.inspection.problem import Problem
from localllm.inspection.safetensors import stored, totals
from localllm.inspection.sizes import plan_all_levels, source_of
from localllm.inspection.storage import type_shares
from localllm.inspection.template import template
from localllm.quantization.checkpoint_source import checkpoint_source
from localllm.quantization.source import QuantizationSource

_Result = TypeVar("_Result")
_AS_GGUF = ("fallback", "quantization-version", "alignment")  # topics of a file, not of what it is made from


def describe_checkpoint(checkpoint: Checkpoint, emit: Emit) -> ModelDescription:
    """Describe a checkpoint that was opened without its weights; of these the headers are read."""
    listener = _Listener(emit)
    weights = listener.attempt(lambda: open_weights(checkpoint.directory)) or {}
    source = None
    if weights:
        recipe = Recipe(checkpoint.directory)
        source = listener.attempt(lambda: checkpoint_source(recipe, emit=listener))
    header = listener.attempt(lambda: source.headers[0]) if source else None
    plan = listener.attempt(lambda: plan_all_levels(source, listener)) if source and header else None
    return replace(
        _with_weights(_described(checkpoint, source, header, listener), checkpoint, weights),
        source=source_of(checkpoint, header, plan),
        problems=tuple(listener.problems),
    )


class _Listener:
    """Takes steps one after the other; what they notice, and why they fail, become problems, each once."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.problems: list[Problem] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.add(Problem(event.topic, event.message, event.hint))
        else:
            self._emit(event)

    def attempt(self, step: Callable[[], _Result]) -> _Result | None:
        """Return what a step returns, None when it fails."""
        try:
            return step()
        except LocalLLMError as error:
            self.add(Problem(error.code, error.message, error.hint))
            return None

    def add(self, problem: Problem) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def _described(
    checkpoint: Checkpoint, source: QuantizationSource | None, header: GGUFHeader | None, listener: _Listener
) -> ModelDescription:
    """Describe the file that a conversion would write, or what config.json says where there is none."""
    label = str(checkpoint.directory)
    outline = header or (source.outlines[0] if source else None)
    if outline is None:
        return _from_config(checkpoint, listener)
    described = describe_set(join_headers(label, [HeaderFile(label, outline)]), devices=())
    if header is not None:  # without its vocabulary there is nothing to add to why that is missing
        noticed = {problem.topic for problem in listener.problems}
        for problem in described.problems:
            if problem.topic not in noticed and problem.topic not in _AS_GGUF:
                listener.add(problem)
    return replace(described, vocabulary=described.vocabulary or config_vocabulary(checkpoint.config))


def _from_config(checkpoint: Checkpoint, listener: _Listener) -> ModelDescription:
    templates = listener.attempt(lambda: chat_template_metadata(checkpoint)) or {}
    found = templates.get(str(Key.CHAT_TEMPLATE))
    return ModelDescription(
        kind=Kind.CHECKPOINT,
        path=str(checkpoint.directory),
        name=checkpoint.directory.resolve().name,
        architecture=str(checkpoint.config.get("model_type") or ""),
        dimensions=config_dimensions(checkpoint.config),
        vocabulary=config_vocabulary(checkpoint.config),
        template=template(str(found.value)) if found else None,
    )


def _with_weights(
    described: ModelDescription, checkpoint: Checkpoint, weights: Mapping[str, StoredTensor]
) -> ModelDescription:
    """Put in what the weights are now, in place of what they would be in a GGUF file."""
    parameters, size = totals(weights.values())
    paths = dict.fromkeys(tensor.path for tensor in weights.values())
    files = tuple(FileEntry(str(path), path.stat().st_size) for path in paths)
    return replace(
        described,
        kind=Kind.CHECKPOINT,
        level="",
        size_bytes=sum(file.size_bytes for file in files),
        parameters=described.parameters or parameters,
        bits_per_weight=size * 8 / max(1, parameters),
        tensors=len(weights),
        files=files,
        types=type_shares(stored(weights.values())),
        memory=None,
    )
