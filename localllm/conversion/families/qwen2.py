"""Qwen2 and 2.5, dense and as mixtures of experts. The runtime rotates split halves, as checkpoints do."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, GIVEN_HEAD_SIZE_KEYS
from localllm.conversion.tables import experts, shapes, windows

QWEN2 = Family(
    name="Qwen2",
    architectures=("Qwen2ForCausalLM",),
    arch="qwen2",
    keys=(*COMMON_KEYS, *GIVEN_HEAD_SIZE_KEYS),
    defaults={
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "use_sliding_window": False,
    },
    remarks=windows.remark_unused,
    shapes=shapes.NORMS_BEFORE | shapes.ATTENTION | shapes.GATED_FEED_FORWARD | shapes.OUTPUT_NORM,
)

QWEN2_MOE = replace(
    QWEN2,
    name="Qwen2-MoE",
    architectures=("Qwen2MoeForCausalLM",),
    arch="qwen2moe",
    keys=(*QWEN2.keys, *experts.mixture_keys(), experts.SHARED_WIDTH_KEY),
    defaults=QWEN2.defaults
    | {
        "num_key_value_heads": 16,
        "num_experts": 60,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 1408,
        experts.SHARED_WIDTH: 5632,
    },
    splits=experts.FUSED,
    check=experts.check_every_layer,
    output_optional=False,
    shapes=shapes.NORMS_BEFORE | shapes.ATTENTION | experts.GATED_SHAPES | shapes.OUTPUT_NORM,
)

FAMILIES = (QWEN2, QWEN2_MOE)
