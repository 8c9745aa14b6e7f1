"""Qwen3.5 as mixtures of experts beside a shared one."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.families.qwen35 import QWEN35
from localllm.conversion.keys import from_config, without
from localllm.conversion.tables import delta_net, experts, shapes
from localllm.gguf_file.format import ValueType

QWEN35_MOE = replace(
    QWEN35,
    name="Qwen3.5-MoE",
    architectures=("Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"),
    arch="qwen35moe",
    keys=(
        *without(QWEN35.keys, "feed_forward_length"),
        *experts.mixture_keys(),
        experts.SHARED_WIDTH_KEY,
        from_config("feed_forward_length", ValueType.UINT32, "intermediate_size"),
    ),
    defaults=QWEN35.defaults
    | {
        "num_key_value_heads": 2,
        "num_experts": 256,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 512,
        experts.SHARED_WIDTH: 512,
    },
    splits={**QWEN35.splits, **experts.FUSED},
    shapes=delta_net.SHAPES | experts.GATED_SHAPES | shapes.OUTPUT_NORM,
)

FAMILIES = (QWEN35_MOE,)
