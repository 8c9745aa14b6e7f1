"""What a model family is: a table that says how its checkpoints become GGUF."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.conversion.config import ModelConfig
from localllm.conversion.keys import ModelKey
from localllm.conversion.ops import Op


@dataclass(frozen=True)
class ComputedTensor:
    """A small tensor that is calculated from the configuration, not read; always stored as F32."""

    name: str
    values: NDArray[np.float32]


def no_computed_tensors(config: ModelConfig) -> Iterable[ComputedTensor]:
    """Compute nothing: what most families need."""
    return ()


@dataclass(frozen=True)
class Family:
    """How checkpoints of some architectures become GGUF files.

    `architectures` are the class names in config.json, `arch` is llama.cpp's name. `defaults` are
    the values transformers assumes when config.json leaves them out. `ops` maps the end of a
    checkpoint tensor's name to the verb applied to it; `drop` holds the ends of names that are left
    out on purpose. Names are translated by the gguf package's map; a tensor that is neither mapped
    nor dropped is an error. `output_optional` tells that llama.cpp uses the token embedding when
    the file has no output tensor. `shapes` holds the tensors every model of the family has, by GGUF
    name (`{layer}` stands for each layer), and the shape the configuration gives them, row length first.
    """

    name: str
    architectures: tuple[str, ...]
    arch: str
    keys: tuple[ModelKey, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    ops: Mapping[str, Op] = field(default_factory=dict)
    drop: tuple[str, ...] = (".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias")
    computed: Callable[[ModelConfig], Iterable[ComputedTensor]] = no_computed_tensors
    output_optional: bool = True
    shapes: Mapping[str, Callable[[ModelConfig], tuple[int, ...]]] = field(default_factory=dict)
