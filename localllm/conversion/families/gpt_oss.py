"""gpt-oss: attention with sinks, mixtures of experts whose gate and up projections alternate.

The published experts are MXFP4 and stay so, bit for bit; fine-tunes often hold them as plain matrices.
"""

from __future__ import annotations

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import shapes
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, EXPERT_KEYS, HEAD_SIZE_KEYS, from_config
from localllm.conversion.views import (
    experts_of_columns,
    interleaved_biases,
    mxfp4_experts,
    mxfp4_scales,
    turned,
)
from localllm.gguf_file.format import ValueType

_GATE, _UP, _DOWN = (f"mlp.experts.{kind}_proj.weight" for kind in ("gate", "up", "down"))


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
        *EXPERT_KEYS,
        from_config("attention.sliding_window", ValueType.UINT32, "sliding_window", required=True),
        from_config("expert_feed_forward_length", ValueType.UINT32, "intermediate_size", required=True),
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
    views={
        "mlp.experts.gate_up_proj": experts_of_columns(_GATE, _UP, interleaved=True),
        "mlp.experts.gate_up_proj_bias": interleaved_biases(
            "mlp.experts.gate_proj.bias", "mlp.experts.up_proj.bias"
        ),
        "mlp.experts.gate_up_proj_blocks": mxfp4_experts(_GATE, _UP),
        "mlp.experts.gate_up_proj_scales": mxfp4_scales,
        "mlp.experts.down_proj": turned(_DOWN),
        "mlp.experts.down_proj_blocks": mxfp4_experts(_DOWN),
        "mlp.experts.down_proj_scales": mxfp4_scales,
    },
    splits={
        "mlp.experts.down_proj_bias": ("mlp.experts.down_proj.bias",),
        "self_attn.sinks": ("self_attn.sinks.weight",),
    },
    check=_check,
    output_optional=False,
    shapes=shapes.ATTENTION
    | shapes.experts("intermediate_size")
    | shapes.OUTPUT_NORM
    | {
        "blk.{layer}.attn_norm.weight": lambda c: (c.hidden,),
        "blk.{layer}.post_attention_norm.weight": lambda c: (c.hidden,),
        "blk.{layer}.attn_sinks.weight": lambda c: (c.heads,),
    },
)

FAMILIES = (GPT_OSS,)
