"""GLM-4.5, 4.5-Air and 4.6: mixtures of experts in groups behind some dense layers."""

from __future__ import annotations

from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, ModelKey, required
from localllm.conversion.tables import experts, rotation, shapes
from localllm.gguf_file.format import ValueType

GLM4_MOE = Family(
    name="GLM-4.5",
    architectures=("Glm4MoeForCausalLM",),
    arch="glm4moe",
    keys=(
        *COMMON_KEYS,
        required("attention.key_length", "head_dim"),
        required("attention.value_length", "head_dim"),
        rotation.PART_OF_HEAD_KEY,
        *experts.mixture_keys(),
        *experts.GROUP_KEYS,
        experts.SIGMOID_KEY,
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
    check=rotation.refuse_sections,
    predicts_ahead=True,
    kinds=experts.behind_dense,
    shapes=shapes.NORMS_AROUND_ATTENTION
    | shapes.ATTENTION
    | shapes.PREDICTION
    | shapes.OUTPUT_NORM
    | shapes.only("dense", shapes.GATED_FEED_FORWARD)
    | shapes.only("mixture", experts.GROUPED_SHAPES),
    special_tokens={
        "bos": "[gMASK]",
        "eot": "<|user|>",
        "unknown": "<|endoftext|>",
        "eom": "<|observation|>",
    },
)

FAMILIES = (GLM4_MOE,)
