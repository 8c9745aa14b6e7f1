"""Phi-3, 3.5 and 4: fused projections that stay fused, and rotary factors for long contexts."""

from __future__ import annotations

from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, ModelKey
from localllm.conversion.tables import rotation, shapes
from localllm.gguf_file.format import ValueType

PHI3 = Family(
    name="Phi-3",
    architectures=("Phi3ForCausalLM",),
    arch="phi3",
    keys=(
        *COMMON_KEYS,
        ModelKey("rope.scaling.original_context_length", ValueType.UINT32, rotation.original_context),
        rotation.ROTARY_SIZE_KEY,
        # zero tells the runtime that it is Phi-4
        ModelKey("attention.sliding_window", ValueType.UINT32, lambda c: c.get("sliding_window") or 0),
    ),
    defaults={
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    },
    scaling=rotation.long_scaling,
    check=rotation.check_long,
    computed=rotation.long_factors,
    shapes=shapes.NORMS_BEFORE
    | shapes.FUSED_ATTENTION
    | shapes.OUTPUT_NORM
    | {
        "blk.{layer}.ffn_up.weight": lambda c: (c.hidden, 2 * shapes.inner(c)),
        "blk.{layer}.ffn_down.weight": lambda c: (shapes.inner(c), c.hidden),
    },
)

FAMILIES = (PHI3,)
