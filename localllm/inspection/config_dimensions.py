"""The dimensions of a model as its config.json states them: what is left where no conversion tells.

Nothing is guessed and nothing is checked here; a number that is none is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localllm.conversion.config import EXPERT_COUNT, text_config
from localllm.inspection.dimensions import Dimensions, Experts, Rope, Window
from localllm.inspection.vocabulary import Vocabulary

_LARGEST = 2**31 - 1


class _Config:
    """config.json with a nested text configuration merged in."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._values = {**config, **text_config(config)}

    def integer(self, *names: str) -> int | None:
        for name in names:
            value = self._values.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST:
                return value
        return None

    def list_of(self, *names: str) -> tuple[int, ...]:
        value = self.integer(*names)
        return () if value is None else (value,)

    def mapping(self, *names: str) -> Mapping[str, Any]:
        found = (self._values.get(name) for name in names)
        return next((value for value in found if isinstance(value, Mapping)), {})

    def number(self, name: str) -> float | None:
        return _number(self._values.get(name))


def config_dimensions(config: Mapping[str, Any]) -> Dimensions:
    """Return what config.json says."""
    values = _Config(config)
    width = values.integer("hidden_size", "n_embd", "d_model")
    heads = values.list_of("num_attention_heads", "n_head", "n_heads")
    head = values.integer("head_dim") or (width // heads[0] if width and heads and heads[0] else None)
    window = values.integer("sliding_window")
    return Dimensions(
        layers=values.integer("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        embedding_length=width,
        feed_forward_length=values.list_of("intermediate_size", "n_inner", "ffn_dim"),
        heads=heads,
        kv_heads=values.list_of("num_key_value_heads"),
        key_length=head,
        value_length=head,
        context_length=values.integer(
            "max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length"
        ),
        rope=_rope(values),
        experts=_experts(values),
        window=Window(window) if window else None,
    )


def config_vocabulary(config: Mapping[str, Any]) -> Vocabulary | None:
    """Return the size of the vocabulary, all that config.json says of it."""
    size = _Config(config).integer("vocab_size")
    return Vocabulary(size) if size else None


def _experts(values: _Config) -> Experts | None:
    count = values.integer(*EXPERT_COUNT)
    if not count:
        return None
    return Experts(
        count=count,
        used=values.integer("num_experts_per_tok", "num_experts_per_token", "moe_topk"),
        shared=values.integer("n_shared_experts", "num_shared_experts"),
        feed_forward_length=values.integer("moe_intermediate_size"),
    )


def _rope(values: _Config) -> Rope:
    scaling = values.mapping("rope_scaling", "rope_parameters")
    original = scaling.get("original_max_position_embeddings")
    method = scaling.get("rope_type") or scaling.get("type")
    base = values.number("rope_theta")
    return Rope(
        base=_number(scaling.get("rope_theta")) if base is None else base,
        scaling=method if isinstance(method, str) and method != "default" else "",
        factor=_number(scaling.get("factor")),
        original_context_length=original if isinstance(original, int) else None,
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
