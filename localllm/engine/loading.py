"""Loads a model and makes its context, with as much of it on GPUs as works out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from localllm.engine.engine_options import EngineOptions
from localllm.engine.sizing import Sizing
from localllm.engine.workspace import Shape, Workspace
from localllm.errors import ModelLoadError
from localllm.events import Emit, Notice
from localllm.gguf_file import GGUFHeader
from localllm.machine import usable_cores
from localllm.native.adapter import Adapters
from localllm.native.model import Model

_UNKNOWN_CONTEXT = 2**31 - 1

Made = TypeVar("Made")


def load_model(
    path: Path, header: GGUFHeader, options: EngineOptions, sizing: Sizing, emit: Emit
) -> tuple[Model, Workspace]:
    """Load a model and make its context, with fewer layers on the GPUs where their memory is not enough.

    Raise ModelLoadError.
    """
    context = options.context or sizing.first_context(trained_context(header))
    shape = Shape(
        size=context,
        threads=options.threads or usable_cores(),
        cache_type_k=options.cache_type_k,
        cache_type_v=options.cache_type_v,
        flash_attention=options.flash_attention,
    )
    share = _largest_share(header)

    def make(model: Model, adapters: Adapters) -> Workspace:
        return Workspace(model, shape, adapters, weights=header.parameters, largest_share=share)

    return load_with(path, options, sizing.layer_counts(options.gpu_layers, context), make, emit)


def load_with(
    path: Path,
    options: EngineOptions,
    counts: Sequence[int | None],
    make: Callable[[Model, Adapters], Made],
    emit: Emit,
) -> tuple[Model, Made]:
    """Load a model and `make` what is to be had with it, with the first of the numbers of layers on the GPUs
    (None: all) that works out.

    Raise ModelLoadError.
    """
    for count in counts:
        try:
            loaded = _load(path, options, count, make)
        except ModelLoadError:
            if count is counts[-1]:
                raise
            continue
        if count is not counts[0]:
            emit(
                Notice(
                    f"the GPU's memory was not enough for {counts[0]} layers: {count} are on it",
                    topic="fewer-gpu-layers",
                )
            )
        _tell_about_context(options, loaded[0], emit)
        return loaded
    raise AssertionError("there is always a number of layers to try")


def _load(
    path: Path, options: EngineOptions, gpu_layers: int | None, make: Callable[[Model, Adapters], Made]
) -> tuple[Model, Made]:
    model = Model(path, gpu_layers=gpu_layers)
    try:
        return model, make(model, Adapters(model, options.adapters))
    except BaseException:
        model.close()
        raise


def _tell_about_context(options: EngineOptions, model: Model, emit: Emit) -> None:
    if options.context and options.context > model.training_context:
        emit(
            Notice(
                f"the context of {options.context} tokens is larger than the "
                f"{model.training_context} this model was trained for",
                topic="context-beyond-training",
            )
        )


def trained_context(header: GGUFHeader) -> int:
    """Return the context a model was trained for, by its header."""
    trained = header.architecture_integer("context_length")
    return trained if trained and trained > 0 else _UNKNOWN_CONTEXT


def _largest_share(header: GGUFHeader) -> float:
    """Return what the largest matrix is of all that every token goes through."""
    sizes = [tensor.parameters for tensor in header.tensors if tensor.name.startswith("blk.")]
    return max(sizes) / sum(sizes) if sizes else 0.0
