"""Llama 4, the language model alone: attention in chunks, every fourth layer without positions, experts.

Checkpoints hold rotary rows as adjacent pairs already, and the experts' matrices with rows as columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import shapes
from localllm.conversion.families.llama import LLAMA
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, EXPERT_KEYS, HEAD_SIZE_KEYS, ModelKey, from_config
from localllm.conversion.views import experts_of_columns, turned
from localllm.gguf_file.format import ValueType

_WITHOUT_NORMS = 128  # experts of Maverick, whose queries and keys the runtime does not normalise


def _kinds(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    step = max(1, config.integer("interleave_moe_layer_step"))
    mixtures = range(step - 1, config.layers, step)
    return {"mixture": mixtures, "dense": [layer for layer in range(config.layers) if layer not in mixtures]}


def _check(config: ModelConfig) -> None:
    """The runtime has these numbers of its own; configurations may give them in either way."""
    rotates = [int((layer + 1) % 4 != 0) for layer in range(config.layers)]
    types = ["chunked_attention" if rotated else "full_attention" for rotated in rotates]
    config.require(
        attention_chunk_size=8192,
        no_rope_layer_interval=4,
        no_rope_layers=rotates if config.get("no_rope_layers") else None,
        layer_types=types,
        moe_layers=list(_kinds(config)["mixture"]),
        attn_temperature_tuning=True,
        floor_scale=8192,
        attn_scale=0.1,
        use_qk_norm=config.integer("num_local_experts") != _WITHOUT_NORMS,
    )


LLAMA4 = Family(
    name="Llama 4",
    architectures=("Llama4ForCausalLM", "Llama4ForConditionalGeneration"),
    arch="llama4",
    keys=(
        *(key for key in COMMON_KEYS if key.suffix != "feed_forward_length"),
        *HEAD_SIZE_KEYS,
        *EXPERT_KEYS,
        from_config("feed_forward_length", ValueType.UINT32, "intermediate_size_mlp", required=True),
        from_config("expert_feed_forward_length", ValueType.UINT32, "intermediate_size", required=True),
        from_config(
            "interleave_moe_layer_step", ValueType.UINT32, "interleave_moe_layer_step", required=True
        ),
        from_config("vocab_size", ValueType.UINT32, "vocab_size", required=True),
        ModelKey("rope.dimension_count", ValueType.UINT32, lambda c: c.head_size),
    ),
    defaults={
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "num_local_experts": 16,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 1,
    },
    views={
        "feed_forward.experts.gate_up_proj": experts_of_columns(
            "feed_forward.experts.gate_proj.weight",
            "feed_forward.experts.up_proj.weight",
            interleaved=False,
        ),
        "feed_forward.experts.down_proj": turned("feed_forward.experts.down_proj.weight"),
    },
    check=_check,
    computed=LLAMA.computed,
    kinds=_kinds,
    shapes=shapes.NORMS_BEFORE
    | shapes.ATTENTION
    | shapes.OUTPUT_NORM
    | shapes.only("dense", shapes.gated("intermediate_size_mlp"))
    | shapes.only("mixture", shapes.experts("intermediate_size"))
    | shapes.only("mixture", shapes.shared_expert("intermediate_size")),
)

FAMILIES = (LLAMA4,)
