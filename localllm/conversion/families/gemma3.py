"""Gemma 3 (text): every sixth layer without a sliding window. Norms are stored minus one."""

from __future__ import annotations

from localllm.conversion.config import ModelConfig
from localllm.conversion.families.gemma2 import GEMMA2
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, HEAD_SIZE_KEYS, ModelKey, from_config
from localllm.conversion.ops import ADD_ONE
from localllm.conversion.tables import rotation, scaled_queries, shapes
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType


def _check(config: ModelConfig) -> None:
    scaled_queries.check(large=62)(config)
    if config.get("attn_logit_softcapping") is not None:
        raise UnsupportedModelError("config.json: attn_logit_softcapping is not part of Gemma 3")


def _sliding_window(config: ModelConfig) -> int | None:
    return None if config.get("sliding_window_pattern") == 1 else config.integer("sliding_window")


GEMMA3 = Family(
    name="Gemma 3",
    architectures=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    arch="gemma3",
    keys=(
        *COMMON_KEYS,
        *HEAD_SIZE_KEYS,
        rotation.LOCAL_THETA_KEY,
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
    check=_check,
    shapes=GEMMA2.shapes | shapes.HEAD_NORMS,
    adds_space=False,
)

FAMILIES = (GEMMA3,)
