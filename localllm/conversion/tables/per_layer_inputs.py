"""Embeddings that go into every layer by themselves, beside the one at the start: a vector for each layer."""

from __future__ import annotations

from collections.abc import Sequence

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Shapes
from localllm.conversion.keys import ModelKey
from localllm.gguf_file.format import ValueType

_WIDTH = "hidden_size_per_layer_input"


def _width(config: ModelConfig) -> int:
    """Return how wide the input of one layer is; 0 where there are none."""
    return 0 if config.get(_WIDTH) is None else config.integer(_WIDTH)


def layers(config: ModelConfig) -> Sequence[int]:
    """Return the layers that have inputs of their own: all, or none."""
    return range(config.layers if _width(config) else 0)


def _all(config: ModelConfig) -> int:
    return config.layers * _width(config)


KEY = ModelKey("embedding_length_per_layer_input", ValueType.UINT32, _width)
SHAPES: Shapes = {
    "per_layer_token_embd.weight": lambda c: (_all(c), c.integer("vocab_size")) if _all(c) else None,
    "per_layer_model_proj.weight": lambda c: (c.hidden, _all(c)) if _all(c) else None,
    "per_layer_proj_norm.weight": lambda c: (_width(c),) if _width(c) else None,
    "blk.{fed}.inp_gate.weight": lambda c: (c.hidden, _width(c)),
    "blk.{fed}.proj.weight": lambda c: (_width(c), c.hidden),
    "blk.{fed}.post_norm.weight": lambda c: (c.hidden,),
}
