"""Where the tensors of a LoRA adapter belong in a GGUF file, and where llama.cpp would not use them."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Family
from localllm.conversion.plan import EMBEDDING, OUTPUT
from localllm.conversion.sources import SourceTensor
from localllm.errors import CheckpointError, UnsupportedModelError

MERGE_HINT = "merge it: `localllm merge BASE ADAPTER`, or `localllm convert BASE --adapter ADAPTER`"
# llama.cpp takes an adapter of the one for the other's, too, and dies of the shapes
_EITHER = {OUTPUT: "output head", EMBEDDING: "token embedding"}
_OTHER = {OUTPUT: _EITHER[EMBEDDING], EMBEDDING: _EITHER[OUTPUT]}
_IN_LAYER = re.compile(r"^blk\.\d+\.")


def place(name: str | None, source: SourceTensor, family: Family, config: ModelConfig) -> str:
    """Return the name of the base tensor in the GGUF file; raise where there can be none."""
    if name is None:
        raise CheckpointError(
            f"the adapter changes `{source.name}`, which has no place in architecture {family.arch}",
            hint="the adapter belongs to another base model",
        )
    if _IN_LAYER.sub("", name).removesuffix(".weight") in family.unadapted:
        raise UnsupportedModelError(
            f"the adapter changes `{source.parts[0].tensor.name}`, where llama.cpp would not use it",
            hint=MERGE_HINT,
        )
    is_tied = config.get("tie_word_embeddings") is not False  # transformers leaves it out where it is true
    if name in _EITHER and is_tied and family.output_optional:
        raise UnsupportedModelError(
            f"the adapter changes the {_EITHER[name]}, which in this model is the {_OTHER[name]}",
            hint=MERGE_HINT,
        )
    return name


def require_shape(
    name: str, pair: tuple[NDArray[np.float32], NDArray[np.float32]], family: Family, config: ModelConfig
) -> None:
    """Hold the pair against the base's config.json: llama.cpp would refuse the adapter at every start."""
    a, b = pair
    shape = dict(family.expected(config)).get(name)
    if shape is not None and shape[:2] != (a.shape[-1], b.shape[-2]):
        raise CheckpointError(
            f"the adapter's `{name}` is {[b.shape[-2], a.shape[-1]]}, the base's {list(reversed(shape))}",
            hint="the adapter belongs to another base model",
        )
