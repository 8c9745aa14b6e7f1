"""Granite 4 with Mamba-2 in most layers and experts in all."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.families.granite4_hybrid_dense import GRANITE4_HYBRID_DENSE
from localllm.conversion.keys import required, without
from localllm.conversion.tables import granite_blocks, state_space

GRANITE4_HYBRID = replace(
    GRANITE4_HYBRID_DENSE,
    name="Granite 4 (hybrid mixture of experts)",
    matches=lambda config: state_space.is_hybrid(config) and not granite_blocks.is_dense(config),
    keys=(
        *without(GRANITE4_HYBRID_DENSE.keys, "feed_forward_length"),
        required("feed_forward_length", "intermediate_size"),
    ),
    splits={**granite_blocks.BESIDE_SHARED, **state_space.splits("mamba")},
    shapes=state_space.HYBRID_SHAPES | granite_blocks.SHAPES_BESIDE_SHARED,
)

FAMILIES = (GRANITE4_HYBRID,)
