"""Llama 4, the language model alone: attention in chunks, every fourth layer without positions, experts.

Checkpoints hold rotary rows as adjacent pairs already, and the experts' matrices with rows as columns.
"""

from __future__ import annotations

from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, HEAD_SIZE_KEYS, VOCABULARY_SIZE_KEY, required, without
from localllm.conversion.tables import chunked_attention, experts, rotation, shapes

LLAMA4 = Family(
    name="Llama 4",
    architectures=("Llama4ForCausalLM", "Llama4ForConditionalGeneration"),
    arch="llama4",
    keys=(
        *without(COMMON_KEYS, "feed_forward_length"),
        *HEAD_SIZE_KEYS,
        *experts.mixture_keys("intermediate_size"),
        required("feed_forward_length", "intermediate_size_mlp"),
        required("interleave_moe_layer_step", "interleave_moe_layer_step"),
        VOCABULARY_SIZE_KEY,
        rotation.WHOLE_HEAD_KEY,
    ),
    defaults={
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "num_local_experts": 16,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 1,
    },
    views=experts.columns("feed_forward", interleaved=False),
    check=chunked_attention.check,
    computed=rotation.llama3_factors,
    kinds=chunked_attention.kinds,
    shapes=shapes.NORMS_BEFORE
    | shapes.ATTENTION
    | shapes.OUTPUT_NORM
    | shapes.only("dense", shapes.gated("intermediate_size_mlp"))
    | shapes.only("mixture", shapes.experts("intermediate_size"))
    | shapes.only("mixture", shapes.shared_expert("intermediate_size")),
)

FAMILIES = (LLAMA4,)
