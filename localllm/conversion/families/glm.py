"""GLM-4-0414 and GLM-Z1, with a norm around every block, and the mixtures of experts GLM-4.5 and 4.6.

Half of each head is rotated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import shapes
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, EXPERT_KEYS, HEAD_SIZE_KEYS, ModelKey, from_config
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType

_SIGMOID = 2
_ROTATED = ModelKey(
    "rope.dimension_count", ValueType.UINT32, lambda c: int(c.head_size * c.rope["partial_rotary_factor"])
)


def _check(config: ModelConfig) -> None:
    if "mrope_section" in config.rope:
        raise UnsupportedModelError("rotation in sections (GLM-4V) is not supported for GLM-4")


GLM4 = Family(
    name="GLM-4",
    architectures=("Glm4ForCausalLM",),
    arch="glm4",
    keys=(*COMMON_KEYS, *HEAD_SIZE_KEYS, _ROTATED),
    defaults={
        "num_key_value_heads": 2,
        "head_dim": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1.5625e-07,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
    },
    check=_check,
    shapes=shapes.NORMS_BEFORE
    | shapes.NORMS_AFTER
    | shapes.ATTENTION
    | shapes.OUTPUT_NORM
    | {
        "blk.{layer}.ffn_up.weight": lambda c: (c.hidden, 2 * shapes.inner(c)),
        "blk.{layer}.ffn_down.weight": lambda c: (shapes.inner(c), c.hidden),
    },
    special_tokens={
        "bos": "<|endoftext|>",
        "eos": "<|endoftext|>",
        "unknown": "<|endoftext|>",
        "eot": "<|user|>",
    },
)


def _kinds(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    dense = config.integer("first_k_dense_replace")
    return {"dense": range(min(dense, config.layers)), "mixture": range(dense, config.layers)}


def _shared(config: ModelConfig) -> int:
    return config.integer("moe_intermediate_size") * config.integer("n_shared_experts")


GLM4_MOE = Family(
    name="GLM-4.5",
    architectures=("Glm4MoeForCausalLM",),
    arch="glm4moe",
    keys=(
        *COMMON_KEYS,
        from_config("attention.key_length", ValueType.UINT32, "head_dim", required=True),
        from_config("attention.value_length", ValueType.UINT32, "head_dim", required=True),
        _ROTATED,
        *EXPERT_KEYS,
        from_config("expert_group_count", ValueType.UINT32, "n_group", required=True),
        from_config("expert_group_used_count", ValueType.UINT32, "topk_group", required=True),
        from_config("expert_feed_forward_length", ValueType.UINT32, "moe_intermediate_size", required=True),
        from_config("expert_shared_count", ValueType.UINT32, "n_shared_experts", required=True),
        from_config("leading_dense_block_count", ValueType.UINT32, "first_k_dense_replace", required=True),
        ModelKey("expert_gating_func", ValueType.UINT32, lambda _: _SIGMOID),
        from_config("expert_weights_scale", ValueType.FLOAT32, "routed_scaling_factor", required=True),
        ModelKey("expert_weights_norm", ValueType.BOOL, lambda c: bool(c.get("norm_topk_prob"))),
    ),
    defaults={
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
        "moe_intermediate_size": 1408,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "n_routed_experts": 128,
        "routed_scaling_factor": 1.0,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "norm_topk_prob": True,
    },
    splits={"mlp.gate.e_score_correction_bias": ("mlp.gate.e_score_correction.bias",)},
    check=_check,
    predicts_ahead=True,
    kinds=_kinds,
    shapes=shapes.ATTENTION
    | shapes.OUTPUT_NORM
    | shapes.only("dense", shapes.GATED_FEED_FORWARD)
    | shapes.only("mixture", shapes.experts("moe_intermediate_size"))
    | {
        "blk.{layer}.attn_norm.weight": lambda c: (c.hidden,),
        "blk.{layer}.post_attention_norm.weight": lambda c: (c.hidden,),
        "blk.{mixture}.exp_probs_b.bias": lambda c: (c.integer("n_routed_experts"),),
        "blk.{mixture}.ffn_gate_shexp.weight": lambda c: (c.hidden, _shared(c)),
        "blk.{mixture}.ffn_up_shexp.weight": lambda c: (c.hidden, _shared(c)),
        "blk.{mixture}.ffn_down_shexp.weight": lambda c: (_shared(c), c.hidden),
    },
    special_tokens={
        "bos": "[gMASK]",
        "eot": "<|user|>",
        "unknown": "<|endoftext|>",
        "eom": "<|observation|>",
    },
)

FAMILIES = (GLM4, GLM4_MOE)
