"""Qwen3, dense and as mixtures of experts: Qwen2's layers with a norm for every query and key."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.families.qwen2 import QWEN2
from localllm.conversion.tables import experts, shapes

QWEN3 = replace(
    QWEN2,
    name="Qwen3",
    architectures=("Qwen3ForCausalLM",),
    arch="qwen3",
    defaults=QWEN2.defaults | {"head_dim": 128},
    shapes=QWEN2.shapes | shapes.HEAD_NORMS,
)

QWEN3_MOE = replace(
    QWEN3,
    name="Qwen3-MoE",
    architectures=("Qwen3MoeForCausalLM",),
    arch="qwen3moe",
    keys=(*QWEN3.keys, *experts.mixture_keys()),
    defaults=QWEN2.defaults
    | {
        "num_key_value_heads": 4,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
    },
    splits=experts.FUSED,
    check=experts.check_every_layer,
    shapes=shapes.NORMS_BEFORE
    | shapes.ATTENTION
    | shapes.experts("moe_intermediate_size")
    | shapes.OUTPUT_NORM
    | shapes.HEAD_NORMS,
)

FAMILIES = (QWEN3, QWEN3_MOE)
