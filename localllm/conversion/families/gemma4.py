"""Gemma 4 (text), dense, with or without inputs of their own for every layer. No norm is stored minus one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localllm.conversion.config import ModelConfig, text_config
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, from_config, without
from localllm.conversion.tables import per_layer_inputs, rotation, shapes, windowed_heads, windowed_rotation
from localllm.gguf_file.format import ValueType


def is_mixture(config: Mapping[str, Any]) -> bool:
    return bool((text_config(config) or config).get("enable_moe_block"))


def _check(config: ModelConfig) -> None:
    windowed_heads.check(config)
    windowed_rotation.check(config)
    config.require(attention_bias=False, hidden_activation="gelu_pytorch_tanh")
    if config.get("use_bidirectional_attention") != "vision":  # of images, which are left out
        config.require(use_bidirectional_attention=None)


def _kinds(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    return {**windowed_heads.kinds(config), "fed": per_layer_inputs.layers(config)}


GEMMA4 = Family(
    name="Gemma 4",
    architectures=("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"),
    arch="gemma4",
    matches=lambda config: not is_mixture(config),
    keys=(
        *without(COMMON_KEYS, "feed_forward_length", "attention.head_count_kv"),
        *windowed_heads.KEYS,
        rotation.LOCAL_THETA_KEY,
        per_layer_inputs.KEY,
        from_config("final_logit_softcapping", ValueType.FLOAT32, "final_logit_softcapping"),
    ),
    defaults=windowed_rotation.DEFAULTS
    | {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "global_head_dim": 512}
    | {"max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "sliding_window": 512}
    | {"num_kv_shared_layers": 0, "tie_word_embeddings": True},
    splits={"layer_scalar": ("layer_scalar.weight",)},
    scaling=windowed_rotation.no_scaling,
    computed=windowed_rotation.factors,
    check=_check,
    kinds=_kinds,
    shapes=shapes.NORMS_BEFORE
    | shapes.NORMS_AFTER
    | windowed_heads.SHAPES
    | per_layer_inputs.SHAPES
    | shapes.OUTPUT_NORM,
    vocabulary="gemma4",
)

FAMILIES = (GEMMA4,)
