"""Qwen3.5, dense and as mixtures of experts: gated delta nets, gated attention in every fourth layer.

Checkpoints keep the value heads of one key head together; the runtime repeats all key heads in turn.
"""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import delta_net, shapes
from localllm.conversion.family import Family
from localllm.conversion.keys import (
    COMMON_KEYS,
    EXPERT_KEYS,
    HEAD_SIZE_KEYS,
    SECTIONS_KEY,
    ModelKey,
    from_config,
    sectioned_rope,
)
from localllm.conversion.ops import ADD_ONE
from localllm.gguf_file.format import ValueType

_SHARED = "shared_expert_intermediate_size"


def _check(config: ModelConfig) -> None:
    delta_net.check(config)
    config.require(hidden_act="silu", attention_bias=False, attn_output_gate=True, norm_topk_prob=True)
    config.require(mlp_only_layers=[], decoder_sparse_step=1)


QWEN35 = Family(
    name="Qwen3.5",
    architectures=("Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"),
    arch="qwen35",
    keys=(
        *COMMON_KEYS,
        *HEAD_SIZE_KEYS,
        *delta_net.KEYS,
        SECTIONS_KEY,
        ModelKey(
            "rope.dimension_count",
            ValueType.UINT32,
            lambda c: int(c.head_size * c.rope["partial_rotary_factor"]),
        ),
    ),
    defaults={
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.25,
        "mrope_section": [11, 11, 10],
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
    },
    ops={
        **delta_net.OPS,
        **dict.fromkeys(("layernorm.weight", "q_norm.weight", "k_norm.weight", "model.norm.weight"), ADD_ONE),
    },
    splits={"linear_attn.dt_bias": ("linear_attn.dt_proj.bias",)},
    scaling=sectioned_rope,
    check=_check,
    predicts_ahead=True,
    kinds=delta_net.kinds,
    shapes=delta_net.SHAPES | shapes.GATED_FEED_FORWARD | shapes.OUTPUT_NORM,
)

QWEN35_MOE = replace(
    QWEN35,
    name="Qwen3.5-MoE",
    architectures=("Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"),
    arch="qwen35moe",
    keys=(
        *(key for key in QWEN35.keys if key.suffix != "feed_forward_length"),
        *EXPERT_KEYS,
        from_config("feed_forward_length", ValueType.UINT32, "intermediate_size"),
        from_config("expert_feed_forward_length", ValueType.UINT32, "moe_intermediate_size", required=True),
        from_config("expert_shared_feed_forward_length", ValueType.UINT32, _SHARED, required=True),
    ),
    defaults=QWEN35.defaults
    | {
        "num_key_value_heads": 2,
        "num_experts": 256,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 512,
        _SHARED: 512,
    },
    splits={
        **QWEN35.splits,
        "mlp.experts.gate_up_proj": ("mlp.experts.gate_proj.weight", "mlp.experts.up_proj.weight"),
        "mlp.experts.down_proj": ("mlp.experts.down_proj.weight",),
    },
    shapes=delta_net.SHAPES
    | shapes.experts("moe_intermediate_size")
    | shapes.shared_expert(_SHARED)
    | shapes.OUTPUT_NORM,
)

FAMILIES = (QWEN35, QWEN35_MOE)
