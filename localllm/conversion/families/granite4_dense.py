"""Granite 4 without Mamba layers: the layers of Granite 3, their feed-forward block under another name."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.families.granite import GRANITE
from localllm.conversion.keys import required, without
from localllm.conversion.tables import granite_blocks, shapes, state_space


def _check(config: ModelConfig) -> None:
    GRANITE.check(config)
    config.require(hidden_act="silu", position_embedding_type="rope")


GRANITE4_DENSE = replace(
    GRANITE,
    name="Granite 4 (attention alone)",
    architectures=("GraniteMoeHybridForCausalLM",),
    matches=lambda config: not state_space.is_hybrid(config) and granite_blocks.is_dense(config),
    keys=(
        *without(GRANITE.keys, "feed_forward_length"),
        required("feed_forward_length", granite_blocks.SHARED_WIDTH),
    ),
    defaults=GRANITE.defaults | {granite_blocks.SHARED_WIDTH: 1024},
    splits=granite_blocks.SHARED_ALONE,
    check=_check,
    shapes=shapes.NORMS_BEFORE
    | shapes.ATTENTION
    | shapes.gated(granite_blocks.SHARED_WIDTH)
    | shapes.OUTPUT_NORM,
)

FAMILIES = (GRANITE4_DENSE,)
