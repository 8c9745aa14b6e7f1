"""StableLM: layer norms with biases, a part of each head rotated, sometimes a norm for every head."""

from __future__ import annotations

from localllm.conversion.family import Family
from localllm.conversion.keys import LAYER_NORM_KEYS, UNUSUAL_THETA_KEY, ModelKey, unscaled_rope
from localllm.conversion.tables import shapes
from localllm.gguf_file.format import ValueType

STABLELM = Family(
    name="StableLM",
    architectures=("StableLmForCausalLM", "StableLMEpochForCausalLM"),
    arch="stablelm",
    keys=(
        *LAYER_NORM_KEYS,
        UNUSUAL_THETA_KEY,
        ModelKey("attention.head_count_kv", ValueType.UINT32, lambda c: c.kv_heads),
        ModelKey("rope.dimension_count", ValueType.UINT32, lambda c: c.rotary_size),
        ModelKey("use_parallel_residual", ValueType.BOOL, lambda c: bool(c.get("use_parallel_residual"))),
    ),
    defaults={
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
        "layer_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.25,
        "use_parallel_residual": False,
    },
    scaling=unscaled_rope,
    output_optional=False,
    shapes=shapes.ATTENTION
    | shapes.GATED_FEED_FORWARD
    | shapes.OUTPUT_NORM
    | {"blk.{layer}.attn_norm.weight": lambda c: (c.hidden,)},
)

FAMILIES = (STABLELM,)
