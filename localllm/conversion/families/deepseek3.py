"""DeepSeek-V3 and R1: latent attention, and experts chosen by sigmoid and bias, out of few groups."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.families.deepseek2 import DEEPSEEK2
from localllm.conversion.family import no_remarks
from localllm.conversion.tables import experts, latent_attention, shapes


def _check(config: ModelConfig) -> None:
    latent_attention.check(config)
    config.require(scoring_func="sigmoid", topk_method="noaux_tc")


DEEPSEEK3 = replace(
    DEEPSEEK2,
    name="DeepSeek-V3",
    architectures=("DeepseekV3ForCausalLM",),
    keys=(
        *latent_attention.KEYS,
        *experts.mixture_keys(),
        *experts.GROUP_KEYS,
        experts.SIGMOID_KEY,
        experts.NORMALISES_KEY,
    ),
    defaults=DEEPSEEK2.defaults
    | {
        "max_position_embeddings": 4096,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
        "routed_scaling_factor": 2.5,
        "topk_method": "noaux_tc",
        "n_group": 8,
        "topk_group": 4,
        "norm_topk_prob": True,
        "first_k_dense_replace": 3,
    },
    splits={**experts.FUSED, "mlp.gate.e_score_correction_bias": ("mlp.gate.e_score_correction.bias",)},
    check=_check,
    remarks=no_remarks,
    predicts_ahead=True,
    shapes=latent_attention.SHAPES
    | shapes.PREDICTION
    | shapes.OUTPUT_NORM
    | shapes.only("dense", shapes.GATED_FEED_FORWARD)
    | shapes.only("mixture", experts.GROUPED_SHAPES),
)

FAMILIES = (DEEPSEEK3,)
