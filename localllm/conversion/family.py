"""What a model family is: a table that says how its checkpoints become GGUF."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.conversion.config import ModelConfig
from localllm.conversion.keys import ModelKey, rope_scaling
from localllm.conversion.ops import Op
from localllm.conversion.views import View
from localllm.gguf_file.writer import TypedValue

_KIND = re.compile(r"\{(\w+)\}")
Shapes = dict[str, Callable[[ModelConfig], tuple[int, ...] | None]]


@dataclass(frozen=True)
class ComputedTensor:
    """A small tensor that is calculated from the configuration, not read; always stored as F32."""

    name: str
    values: NDArray[np.float32]


def no_computed_tensors(config: ModelConfig) -> Iterable[ComputedTensor]:
    """Compute nothing: what most families need."""
    return ()


def any_config(config: Mapping[str, Any]) -> bool:
    """Take every configuration: what families whose architectures are theirs alone need."""
    return True


def one_kind(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    """Tell no kinds of layers apart: what most families need."""
    return {}


def no_checks(config: ModelConfig) -> None:
    """Refuse nothing."""


def no_remarks(config: ModelConfig) -> Iterable[str]:
    """Remark nothing: what most families need."""
    return ()


@dataclass(frozen=True)
class Family:
    """How checkpoints of some architectures become GGUF files.

    `architectures` are the class names in config.json, `arch` is llama.cpp's name. `defaults` are
    the values transformers assumes when config.json leaves them out; `check` refuses what the
    runtime would compute differently, `remarks` tells what is different, a little, in every file of such a
    model. Where several families share an architecture, `matches` tells from config.json whose it is. `keys`
    and `scaling` say which metadata is written.

    Checkpoint names are first made uniform: a `prefix` that some have is taken away; what ends in a key of
    `views` is looked at as other tensors (transposed, every second row …); what ends in a key of `splits`
    holds tensors of equal size one after another along the last axis but one, and is given their endings (a
    single one renames); numbered parts (experts, norms per head) become one tensor. Then `ops` maps the end
    of a name to the verb applied, and `drop` holds the ends of names left out on purpose. Names are
    translated by the gguf package's map; a tensor that is neither mapped nor dropped is an error.

    `output_optional` tells that llama.cpp uses the token embedding when the file has no output tensor;
    otherwise a tied embedding is written twice. `shapes` holds the tensors every model of the family
    has, by GGUF name (`{layer}` stands for each layer, any other word for each layer that `kinds` lists
    under it), and the shape the configuration gives them, row length first; None where the configuration has
    no such tensor. Where `predicts_ahead`, layers
    behind the last predict further tokens, for speculation only, and are left out unless they are asked for;
    `{mtp}` stands for those in `shapes`, where llama.cpp loads them.

    `vocabulary` is llama.cpp's kind of a vocabulary that falls back to bytes; without it that is `llama`.
    `adds_space` overrides the tokenizer's setting for a space in front of every text; `special_tokens`
    holds the texts of special tokens that the runtime needs where the checkpoint names none, by GGUF's name.
    `unadapted` are the tensors, by their GGUF name in a layer, which the runtime multiplies without a LoRA
    adapter: one that changes them has to be merged.
    """

    name: str
    architectures: tuple[str, ...]
    arch: str
    keys: tuple[ModelKey, ...]
    defaults: dict[str, Any] = field(default_factory=dict)
    ops: Mapping[str, Op] = field(default_factory=dict)
    views: Mapping[str, View] = field(default_factory=dict)
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drop: tuple[str, ...] = (".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias")
    scaling: Callable[[ModelConfig], Iterable[tuple[str, TypedValue]]] = rope_scaling
    check: Callable[[ModelConfig], None] = no_checks
    computed: Callable[[ModelConfig], Iterable[ComputedTensor]] = no_computed_tensors
    output_optional: bool = True
    matches: Callable[[Mapping[str, Any]], bool] = any_config
    shapes: Shapes = field(default_factory=dict)
    kinds: Callable[[ModelConfig], Mapping[str, Sequence[int]]] = one_kind
    predicts_ahead: bool = False
    vocabulary: str | None = None
    adds_space: bool | None = None
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    remarks: Callable[[ModelConfig], Iterable[str]] = no_remarks
    unadapted: tuple[str, ...] = ()

    def expected(self, config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and shape, row length first, of every tensor of `shapes`."""
        every, ahead = range(config.blocks), range(config.layers, config.blocks)
        kinds = {"layer": every, "mtp": ahead, **self.kinds(config)}
        for pattern, shape_of in self.shapes.items():
            kind = _KIND.search(pattern)
            for layer in kinds[kind[1]] if kind else (0,):
                shape = shape_of(config)
                if shape is not None:
                    yield _KIND.sub(str(layer), pattern), shape
