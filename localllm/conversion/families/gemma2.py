"""Gemma 2. Norms are stored minus one; embeddings are scaled by the runtime."""

from __future__ import annotations

from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, HEAD_SIZE_KEYS, from_config, unscaled_rope, without
from localllm.conversion.ops import ADD_ONE
from localllm.conversion.tables import scaled_queries, shapes
from localllm.gguf_file.format import ValueType

GEMMA2 = Family(
    name="Gemma 2",
    architectures=("Gemma2ForCausalLM",),
    arch="gemma2",
    keys=(
        *without(COMMON_KEYS, "rope.freq_base"),
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
    check=scaled_queries.check(large=46),
    shapes=shapes.NORMS_BEFORE
    | shapes.NORMS_AFTER
    | shapes.ATTENTION
    | shapes.GATED_FEED_FORWARD
    | shapes.OUTPUT_NORM,
    adds_space=False,
)

FAMILIES = (GEMMA2,)
