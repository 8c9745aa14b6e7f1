"""gpt-oss: attention with sinks, mixtures of experts whose gate and up projections alternate.

The published experts are MXFP4 and stay so, bit for bit; fine-tunes often hold them as plain matrices.
"""

from __future__ import annotations

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, HEAD_SIZE_KEYS, required
from localllm.conversion.tables import experts, shapes


def _check(config: ModelConfig) -> None:
    windows = ["full_attention" if layer % 2 else "sliding_attention" for layer in range(config.layers)]
    config.require(layer_types=windows, swiglu_limit=7.0, swiglu_alpha=1.702, attention_bias=True)


GPT_OSS = Family(
    name="gpt-oss",
    architectures=("GptOssForCausalLM",),
    arch="gpt-oss",
    keys=(
        *COMMON_KEYS,
        *HEAD_SIZE_KEYS,
        *experts.mixture_keys("intermediate_size"),
        required("attention.sliding_window", "sliding_window"),
    ),
    defaults={
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 150000.0,
        "sliding_window": 128,
        "num_local_experts": 128,
        "num_experts_per_tok": 4,
    },
    views={**experts.columns("mlp", interleaved=True), **experts.mxfp4("mlp")},
    splits={
        "mlp.experts.down_proj_bias": ("mlp.experts.down_proj.bias",),
        "self_attn.sinks": ("self_attn.sinks.weight",),
    },
    check=_check,
    output_optional=False,
    shapes=shapes.NORMS_AROUND_ATTENTION
    | shapes.ATTENTION
    | shapes.experts("intermediate_size")
    | shapes.OUTPUT_NORM
    | {"blk.{layer}.attn_sinks.weight": lambda c: (c.heads,)},
)

FAMILIES = (GPT_OSS,)
