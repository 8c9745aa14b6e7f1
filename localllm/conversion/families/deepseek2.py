"""DeepSeek-V2, V2-Lite and Coder-V2: latent attention, and experts chosen by softmax behind a dense layer."""

from __future__ import annotations

from collections.abc import Iterator

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Family
from localllm.conversion.tables import experts, latent_attention, shapes


def _check(config: ModelConfig) -> None:
    latent_attention.check(config)
    config.require(scoring_func="softmax", norm_topk_prob=False)


def _remarks(config: ModelConfig) -> Iterator[str]:
    if config.get("topk_method") == "group_limited_greedy":
        yield (
            "this model was trained to choose groups of experts by their best one, llama.cpp takes the two "
            "best: some tokens go through other experts, whoever converts"
        )


DEEPSEEK2 = Family(
    name="DeepSeek-V2",
    architectures=("DeepseekV2ForCausalLM",),
    arch="deepseek2",
    keys=(*latent_attention.KEYS, *experts.mixture_keys(), *experts.GROUP_KEYS, experts.SOFTMAX_KEY),
    defaults={
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "moe_intermediate_size": 1407,
        "routed_scaling_factor": 1.0,
        "topk_method": "greedy",
        "first_k_dense_replace": 0,
    },
    views=latent_attention.VIEWS,
    splits=experts.FUSED,
    scaling=latent_attention.scaling,
    check=_check,
    remarks=_remarks,
    kinds=experts.behind_dense,
    shapes=latent_attention.SHAPES
    | shapes.OUTPUT_NORM
    | shapes.only("dense", shapes.GATED_FEED_FORWARD)
    | shapes.only("mixture", experts.SHARING_SHAPES),
    unadapted=latent_attention.UNADAPTED,
)

FAMILIES = (DEEPSEEK2,)
