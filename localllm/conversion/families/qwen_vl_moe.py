"""The language models of Qwen3-VL as mixtures of experts, which transformers 4 and 5 hold differently."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.expert_views import experts_either_way
from localllm.conversion.families.qwen3 import QWEN3_MOE
from localllm.conversion.families.qwen_vl import QWEN3_VL
from localllm.conversion.tables import experts


def _check(config: ModelConfig) -> None:
    QWEN3_VL.check(config)
    experts.check_every_layer(config)
    config.require(norm_topk_prob=True)


QWEN3_VL_MOE = replace(
    QWEN3_VL,
    name="Qwen3-VL-MoE",
    architectures=("Qwen3VLMoeForConditionalGeneration",),
    arch="qwen3vlmoe",
    keys=(*QWEN3_VL.keys, *experts.mixture_keys()),
    defaults=QWEN3_VL.defaults
    | {
        "intermediate_size": 5632,
        "num_key_value_heads": 16,
        "num_experts": 60,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 1408,
    },
    views=experts_either_way("mlp.experts"),
    check=_check,
    shapes=QWEN3_MOE.shapes,
)

FAMILIES = (QWEN3_VL_MOE,)
