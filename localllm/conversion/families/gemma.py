"""Gemma 2 and Gemma 3 (text). Norms are stored minus one; embeddings are scaled by the runtime."""

from __future__ import annotations

from collections.abc import Iterator

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import shapes
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, HEAD_SIZE_KEYS, ModelKey, from_config, unscaled_rope
from localllm.conversion.ops import ADD_ONE
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType

_LARGE = {"gemma2": 46, "gemma3": 62}  # layers of the 27B models, whose queries the runtime scales otherwise
_SHAPES = (
    shapes.NORMS_BEFORE
    | shapes.NORMS_AFTER
    | shapes.ATTENTION
    | shapes.GATED_FEED_FORWARD
    | shapes.OUTPUT_NORM
)


def _check_query_scale(config: ModelConfig, arch: str) -> None:
    """The runtime divides queries by the root of the head size, in the 27B of hidden size / heads."""
    given = config.get("query_pre_attn_scalar")
    expected = config.hidden // config.heads if config.layers == _LARGE[arch] else config.head_size
    if given is not None and given != expected:
        raise UnsupportedModelError(
            f"config.json: query_pre_attn_scalar is {given}, but llama.cpp would take {expected}"
        )


def _check_gemma3(config: ModelConfig) -> None:
    _check_query_scale(config, "gemma3")
    if config.get("attn_logit_softcapping") is not None:
        raise UnsupportedModelError("config.json: attn_logit_softcapping is not part of Gemma 3")


def _sliding_window(config: ModelConfig) -> int | None:
    return None if config.get("sliding_window_pattern") == 1 else config.integer("sliding_window")


def _without_theta() -> Iterator[ModelKey]:
    return (key for key in COMMON_KEYS if key.suffix != "rope.freq_base")


GEMMA2 = Family(
    name="Gemma 2",
    architectures=("Gemma2ForCausalLM",),
    arch="gemma2",
    keys=(
        *_without_theta(),
        *HEAD_SIZE_KEYS,
        from_config("attn_logit_softcapping", ValueType.FLOAT32, "attn_logit_softcapping", required=True),
        from_config("final_logit_softcapping", ValueType.FLOAT32, "final_logit_softcapping", required=True),
        from_config("attention.sliding_window", ValueType.UINT32, "sliding_window", required=True),
    ),
    defaults={
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "query_pre_attn_scalar": 256,
        "tie_word_embeddings": True,
    },
    ops={"norm.weight": ADD_ONE},
    scaling=unscaled_rope,
    check=lambda config: _check_query_scale(config, "gemma2"),
    shapes=_SHAPES,
    adds_space=False,
)

GEMMA3 = Family(
    name="Gemma 3",
    architectures=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    arch="gemma3",
    keys=(
        *COMMON_KEYS,
        *HEAD_SIZE_KEYS,
        ModelKey("rope.freq_base_swa", ValueType.FLOAT32, lambda c: c.rope.get("local_theta")),
        from_config("final_logit_softcapping", ValueType.FLOAT32, "final_logit_softcapping"),
        ModelKey("attention.sliding_window", ValueType.UINT32, _sliding_window),
    ),
    defaults={
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0,
        "sliding_window": 4096,
        "query_pre_attn_scalar": 256,
        "tie_word_embeddings": True,
    },
    ops={"norm.weight": ADD_ONE},
    check=_check_gemma3,
    shapes=_SHAPES | shapes.HEAD_NORMS,
    adds_space=False,
)

FAMILIES = (GEMMA2, GEMMA3)
