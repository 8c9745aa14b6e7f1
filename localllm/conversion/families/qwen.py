"""Qwen2, 2.5 and 3, dense and as mixtures of experts. The runtime rotates split halves, as checkpoints do."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import shapes
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, EXPERT_KEYS, GIVEN_HEAD_SIZE_KEYS, from_config
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType

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
    },
    shapes=shapes.NORMS_BEFORE | shapes.ATTENTION | shapes.GATED_FEED_FORWARD | shapes.OUTPUT_NORM,
)

QWEN3 = replace(
    QWEN2,
    name="Qwen3",
    architectures=("Qwen3ForCausalLM",),
    arch="qwen3",
    defaults=QWEN2.defaults | {"head_dim": 128},
    shapes=QWEN2.shapes | shapes.HEAD_NORMS,
)


def _check_experts(config: ModelConfig) -> None:
    """The runtime expects a mixture in every layer."""
    if config.get("decoder_sparse_step") not in (None, 1) or config.get("mlp_only_layers"):
        raise UnsupportedModelError(
            "dense layers among the mixtures of experts are not supported by llama.cpp"
        )


_EXPERTS = (
    shapes.NORMS_BEFORE | shapes.ATTENTION | shapes.experts("moe_intermediate_size") | shapes.OUTPUT_NORM
)
_EXPERT_SPLITS = {
    "mlp.experts.gate_up_proj": ("mlp.experts.gate_proj.weight", "mlp.experts.up_proj.weight"),
    "mlp.experts.down_proj": ("mlp.experts.down_proj.weight",),
}

QWEN2_MOE = replace(
    QWEN2,
    name="Qwen2-MoE",
    architectures=("Qwen2MoeForCausalLM",),
    arch="qwen2moe",
    keys=(
        *QWEN2.keys,
        *EXPERT_KEYS,
        from_config("expert_feed_forward_length", ValueType.UINT32, "moe_intermediate_size", required=True),
        from_config(
            "expert_shared_feed_forward_length",
            ValueType.UINT32,
            "shared_expert_intermediate_size",
            required=True,
        ),
    ),
    defaults=QWEN2.defaults
    | {
        "num_key_value_heads": 16,
        "num_experts": 60,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
    },
    splits=_EXPERT_SPLITS,
    check=_check_experts,
    output_optional=False,
    shapes=_EXPERTS
    | {
        "blk.{layer}.ffn_gate_inp_shexp.weight": lambda c: (c.hidden, 1),
        "blk.{layer}.ffn_up_shexp.weight": lambda c: (c.hidden, c.integer("shared_expert_intermediate_size")),
    },
)

QWEN3_MOE = replace(
    QWEN3,
    name="Qwen3-MoE",
    architectures=("Qwen3MoeForCausalLM",),
    arch="qwen3moe",
    keys=(
        *QWEN3.keys,
        *EXPERT_KEYS,
        from_config("expert_feed_forward_length", ValueType.UINT32, "moe_intermediate_size", required=True),
    ),
    defaults=QWEN2.defaults
    | {
        "num_key_value_heads": 4,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
    },
    splits=_EXPERT_SPLITS,
    check=_check_experts,
    shapes=_EXPERTS | shapes.HEAD_NORMS,
)

FAMILIES = (QWEN2, QWEN3, QWEN2_MOE, QWEN3_MOE)
