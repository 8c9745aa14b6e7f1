"""Granite 4 with Mamba-2 in most layers and attention without positions in a few; no experts."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.families.granite import GRANITE
from localllm.conversion.families.granite4_dense import GRANITE4_DENSE
from localllm.conversion.keys import ModelKey, required, without
from localllm.conversion.tables import granite_blocks, shapes, state_space
from localllm.gguf_file.format import ValueType


def _used(config: ModelConfig) -> int:
    return config.integer("num_experts_per_tok") if config.integer("num_local_experts") else 0


def _check(config: ModelConfig) -> None:
    state_space.check(config)
    # with several groups the runtime would normalise each by itself, transformers does not
    config.require(mamba_expand=2, mamba_proj_bias=False, mamba_n_groups=1, position_embedding_type="nope")


GRANITE4_HYBRID_DENSE = replace(
    GRANITE4_DENSE,
    name="Granite 4 (hybrid)",
    matches=lambda config: state_space.is_hybrid(config) and granite_blocks.is_dense(config),
    arch="granitehybrid",
    keys=(
        *without(GRANITE.keys, "feed_forward_length", "attention.head_count_kv", "context_length"),
        *state_space.KEYS,
        *state_space.HYBRID_KEYS,
        required("feed_forward_length", granite_blocks.SHARED_WIDTH),
        granite_blocks.SHARED_WIDTH_KEY,
        required("expert_count", "num_local_experts"),
        ModelKey("expert_used_count", ValueType.UINT32, _used),
    ),
    defaults=GRANITE4_DENSE.defaults
    | {"num_local_experts": 8, "num_experts_per_tok": 2}
    | state_space.HYBRID_DEFAULTS,
    ops={**GRANITE.ops, **state_space.ops("mamba")},
    splits={**GRANITE4_DENSE.splits, **state_space.splits("mamba")},
    check=_check,
    kinds=state_space.kinds,
    shapes=state_space.HYBRID_SHAPES | shapes.gated(granite_blocks.SHARED_WIDTH),
)

FAMILIES = (GRANITE4_HYBRID_DENSE,)
