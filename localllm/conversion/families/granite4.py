"""Granite 4: Mamba-2 in most layers and attention without positions in a few, or attention alone.

The block behind is a mixture of experts beside a shared one, or the shared one alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import shapes
from localllm.conversion.families.llama import GRANITE
from localllm.conversion.family import Shapes
from localllm.conversion.keys import ModelKey, from_config
from localllm.conversion.ops import COLUMN, DROP_MIDDLE_AXIS, NEGATIVE_EXP, ROWS_BY_GROUP, in_turn
from localllm.gguf_file.format import ValueType

_ATTENTION = ("attention", "full_attention")  # as transformers 4 and 5 call it


def _is_hybrid(config: Mapping[str, Any]) -> bool:
    types = config.get("layer_types")
    return not isinstance(types, list) or any(kind not in _ATTENTION for kind in types)


def _is_dense(config: Mapping[str, Any]) -> bool:
    return not config.get("num_local_experts", 8)


def _attends(config: ModelConfig) -> list[bool]:
    indices = config.layer_numbers("attn_layer_indices")
    default = ["attention" if layer in indices else "mamba" for layer in range(config.layers)]
    return [kind in _ATTENTION for kind in config.layer_types(default)]


def _kinds(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    attends = _attends(config)
    return {
        "attention": [layer for layer in range(config.layers) if attends[layer]],
        "mamba": [layer for layer in range(config.layers) if not attends[layer]],
    }


def _inner(config: ModelConfig) -> int:
    return 2 * config.hidden


def _convolved(config: ModelConfig) -> int:
    return _inner(config) + 2 * config.integer("mamba_n_groups") * config.integer("mamba_d_state")


def _used(config: ModelConfig) -> int:
    return config.integer("num_experts_per_tok") if config.integer("num_local_experts") else 0


def _check(config: ModelConfig) -> None:
    config.require(
        hidden_act="silu",
        mamba_expand=2,
        mamba_proj_bias=False,
        mamba_n_groups=1,  # else the runtime would normalise each by itself, transformers does not
        position_embedding_type="nope" if not all(_attends(config)) else "rope",
    )


_SHARED = "shared_intermediate_size"
_REPLACED = ("feed_forward_length", "attention.head_count_kv", "context_length")
_MAMBA: Shapes = {
    "blk.{mamba}.ssm_in.weight": lambda c: (
        c.hidden,
        _inner(c) + _convolved(c) + c.integer("mamba_n_heads"),
    ),
    "blk.{mamba}.ssm_conv1d.weight": lambda c: (c.integer("mamba_d_conv"), _convolved(c)),
    "blk.{mamba}.ssm_conv1d.bias": lambda c: (_convolved(c),),
    "blk.{mamba}.ssm_dt.bias": lambda c: (c.integer("mamba_n_heads"),),
    "blk.{mamba}.ssm_a": lambda c: (1, c.integer("mamba_n_heads")),
    "blk.{mamba}.ssm_d": lambda c: (1, c.integer("mamba_n_heads")),
    "blk.{mamba}.ssm_norm.weight": lambda c: (
        _inner(c) // c.integer("mamba_n_groups"),
        c.integer("mamba_n_groups"),
    ),
    "blk.{mamba}.ssm_out.weight": lambda c: (_inner(c), c.hidden),
}

GRANITE4_DENSE = replace(
    GRANITE,
    name="Granite 4 (attention alone)",
    architectures=("GraniteMoeHybridForCausalLM",),
    matches=lambda config: not _is_hybrid(config) and _is_dense(config),
    keys=(
        *(key for key in GRANITE.keys if key.suffix != "feed_forward_length"),
        from_config("feed_forward_length", ValueType.UINT32, _SHARED, required=True),
    ),
    defaults=GRANITE.defaults | {_SHARED: 1024},
    splits={
        "shared_mlp.input_linear.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
        "shared_mlp.output_linear.weight": ("mlp.down_proj.weight",),
    },
    check=_check,
    shapes=shapes.NORMS_BEFORE | shapes.ATTENTION | shapes.gated(_SHARED) | shapes.OUTPUT_NORM,
)

GRANITE4_HYBRID_DENSE = replace(
    GRANITE4_DENSE,
    name="Granite 4 (hybrid)",
    matches=lambda config: _is_hybrid(config) and _is_dense(config),
    arch="granitehybrid",
    keys=(
        *(key for key in GRANITE.keys if key.suffix not in _REPLACED),
        # without positions there is no end to them
        ModelKey("context_length", ValueType.UINT32, lambda _: 2**20),
        ModelKey("rope.scaling.finetuned", ValueType.BOOL, lambda _: False),
        from_config("feed_forward_length", ValueType.UINT32, _SHARED, required=True),
        ModelKey("attention.head_count_kv", ValueType.INT32, lambda c: [c.kv_heads * a for a in _attends(c)]),
        from_config("expert_shared_feed_forward_length", ValueType.UINT32, _SHARED, required=True),
        from_config("expert_count", ValueType.UINT32, "num_local_experts", required=True),
        ModelKey("expert_used_count", ValueType.UINT32, _used),
        from_config("ssm.conv_kernel", ValueType.UINT32, "mamba_d_conv", required=True),
        from_config("ssm.state_size", ValueType.UINT32, "mamba_d_state", required=True),
        from_config("ssm.group_count", ValueType.UINT32, "mamba_n_groups", required=True),
        ModelKey("ssm.inner_size", ValueType.UINT32, _inner),
        from_config("ssm.time_step_rank", ValueType.UINT32, "mamba_n_heads", required=True),
    ),
    defaults=GRANITE4_DENSE.defaults
    | {
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "mamba_n_heads": 128,
        "mamba_n_groups": 1,
        "mamba_d_state": 256,
        "mamba_d_conv": 4,
    },
    ops={
        **GRANITE.ops,
        "mamba.conv1d.weight": DROP_MIDDLE_AXIS,
        "mamba.A_log": in_turn(NEGATIVE_EXP, COLUMN),
        "mamba.D": COLUMN,
        "mamba.norm.weight": ROWS_BY_GROUP,
    },
    splits={**GRANITE4_DENSE.splits, "mamba.dt_bias": ("mamba.dt_proj.bias",)},
    kinds=_kinds,
    shapes=shapes.NORMS_BEFORE
    | shapes.only("attention", shapes.ATTENTION)
    | _MAMBA
    | shapes.gated(_SHARED)
    | shapes.OUTPUT_NORM,
)

GRANITE4_HYBRID = replace(
    GRANITE4_HYBRID_DENSE,
    name="Granite 4 (hybrid mixture of experts)",
    matches=lambda config: _is_hybrid(config) and not _is_dense(config),
    keys=(
        *(key for key in GRANITE4_HYBRID_DENSE.keys if key.suffix != "feed_forward_length"),
        from_config("feed_forward_length", ValueType.UINT32, "intermediate_size", required=True),
    ),
    splits={
        "mamba.dt_bias": ("mamba.dt_proj.bias",),
        "shared_mlp.input_linear.weight": (
            "mlp.shared_mlp.gate_proj.weight",
            "mlp.shared_mlp.up_proj.weight",
        ),
        "block_sparse_moe.input_linear.weight": (
            "mlp.experts.gate_proj.weight",
            "mlp.experts.up_proj.weight",
        ),
    },
    shapes=shapes.NORMS_BEFORE
    | shapes.only("attention", shapes.ATTENTION)
    | _MAMBA
    | shapes.experts("intermediate_size")
    | shapes.shared_expert(_SHARED)
    | shapes.OUTPUT_NORM,
)

FAMILIES = (GRANITE4_DENSE, GRANITE4_HYBRID_DENSE, GRANITE4_HYBRID)
