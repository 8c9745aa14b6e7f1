"""What families with gated delta nets (linear attention) share: their keys, verbs and shapes.

Key heads are fewer than value heads, each serves several of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Shapes
from localllm.conversion.head_views import fused_heads
from localllm.conversion.keys import ModelKey, required
from localllm.conversion.ops import (
    ADD_ONE,
    DROP_MIDDLE_AXIS,
    NEGATIVE_EXP,
    TILE_HEADS,
    TILE_VALUE_COLUMNS,
    TILE_VALUE_ROWS,
    TILE_VALUES_BEHIND,
    Op,
    in_turn,
)
from localllm.conversion.tables import shapes
from localllm.conversion.views import View
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType

_INTERVAL = 4
# stored minus one; that of a delta net is not
_NORMS = (
    *("layernorm.weight", "q_norm.weight", "k_norm.weight", "model.norm.weight"),
    *("enorm.weight", "hnorm.weight", "shared_head.norm.weight"),
)


def _interval(config: ModelConfig) -> int:
    """Return how many layers there are from one with attention to the next."""
    name = "full_attention_interval"
    return _INTERVAL if config.get(name) is None else config.positive(name)


def _recurs(config: ModelConfig) -> list[bool]:
    """Tell which layers are delta nets: by default all but every fourth, none that predicts ahead."""
    interval = _interval(config)
    default = [
        "full_attention" if layer % interval == interval - 1 else "linear_attention"
        for layer in range(config.layers)
    ]
    recurs = [kind == "linear_attention" for kind in config.layer_types(default)]
    return [*recurs, *[False] * config.mtp_layers]


def kinds(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    """Return the layers with attention and those with delta nets."""
    recurs = _recurs(config)
    return {
        "attention": [layer for layer in range(config.blocks) if not recurs[layer]],
        "delta": [layer for layer in range(config.blocks) if recurs[layer]],
    }


def check(config: ModelConfig) -> None:
    """Refuse what the runtime has no numbers for."""
    keys, values = config.integer("linear_num_key_heads"), config.integer("linear_num_value_heads")
    if not keys or values % keys:
        raise UnsupportedModelError(f"config.json: {values} value heads cannot share {keys} key heads")
    config.require(linear_value_head_dim=config.integer("linear_key_head_dim"))
    config.require(hidden_act="silu", attention_bias=False, attn_output_gate=True, norm_topk_prob=True)
    config.require(mlp_only_layers=[], decoder_sparse_step=1)


def _values(config: ModelConfig) -> int:
    return config.integer("linear_num_value_heads") * config.integer("linear_value_head_dim")


def _convolved(config: ModelConfig) -> int:
    keys = config.integer("linear_num_key_heads") * config.integer("linear_key_head_dim")
    return 2 * keys + _values(config)


def _heads(config: ModelConfig) -> int:
    return config.integer("linear_num_value_heads")


KEYS: tuple[ModelKey, ...] = (
    required("ssm.conv_kernel", "linear_conv_kernel_dim"),
    required("ssm.state_size", "linear_key_head_dim"),
    required("ssm.group_count", "linear_num_key_heads"),
    required("ssm.time_step_rank", "linear_num_value_heads"),
    ModelKey("ssm.inner_size", ValueType.UINT32, _values),
    ModelKey("attention.recurrent_layers", ValueType.BOOL, _recurs),
    ModelKey("full_attention_interval", ValueType.UINT32, _interval),
)
DEFAULTS: dict[str, Any] = {
    "head_dim": 256,
    "partial_rotary_factor": 0.25,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
}
SPLITS: Mapping[str, tuple[str, ...]] = {"linear_attn.dt_bias": ("linear_attn.dt_proj.bias",)}
# where checkpoints keep the value heads of one key head together
TILED: Mapping[str, Op] = {
    "in_proj_qkv.weight": TILE_VALUES_BEHIND,
    "in_proj_z.weight": TILE_VALUE_ROWS,
    "in_proj_a.weight": TILE_HEADS,
    "in_proj_b.weight": TILE_HEADS,
    "linear_attn.A_log": in_turn(TILE_HEADS, NEGATIVE_EXP),
    "linear_attn.dt_proj.bias": TILE_HEADS,
    "linear_attn.conv1d.weight": in_turn(DROP_MIDDLE_AXIS, TILE_VALUES_BEHIND),
    "linear_attn.out_proj.weight": TILE_VALUE_COLUMNS,
}
# where they have the runtime's order
OPS: Mapping[str, Op] = {
    "linear_attn.A_log": NEGATIVE_EXP,
    "linear_attn.conv1d.weight": DROP_MIDDLE_AXIS,
    **dict.fromkeys(_NORMS, ADD_ONE),
}


def _rows_by_key_head(config: ModelConfig) -> tuple[int, ...]:
    """Return how many rows of queries, keys, values and gates each key head has."""
    keys = config.positive("linear_key_head_dim")
    return keys, keys, *(_values(config) // config.positive("linear_num_key_heads"),) * 2


BY_KEY_HEAD: Mapping[str, View] = {
    "in_proj_qkvz.weight": fused_heads(
        _rows_by_key_head, {"in_proj_qkv.weight": (0, 1, 2), "in_proj_z.weight": (3,)}
    )
}
_COMMON_SHAPES: Shapes = (
    shapes.PREDICTION
    | shapes.NORMS_AROUND_ATTENTION
    | shapes.only(
        "attention",
        shapes.ATTENTION
        | shapes.HEAD_NORMS
        # a gate behind the query of each head
        | {"blk.{layer}.attn_q.weight": lambda c: (c.hidden, 2 * c.heads * c.head_size)},
    )
    | {
        "blk.{delta}.attn_qkv.weight": lambda c: (c.hidden, _convolved(c)),
        "blk.{delta}.attn_gate.weight": lambda c: (c.hidden, _values(c)),
        "blk.{delta}.ssm_conv1d.weight": lambda c: (c.integer("linear_conv_kernel_dim"), _convolved(c)),
        "blk.{delta}.ssm_a": lambda c: (_heads(c),),
        "blk.{delta}.ssm_dt.bias": lambda c: (_heads(c),),
        "blk.{delta}.ssm_norm.weight": lambda c: (c.integer("linear_value_head_dim"),),
        "blk.{delta}.ssm_out.weight": lambda c: (_values(c), c.hidden),
    }
)
SHAPES: Shapes = _COMMON_SHAPES | {
    "blk.{delta}.ssm_alpha.weight": lambda c: (c.hidden, _heads(c)),
    "blk.{delta}.ssm_beta.weight": lambda c: (c.hidden, _heads(c)),
}
# where what decays and what is learned come of one matrix
JOINED_SHAPES: Shapes = _COMMON_SHAPES | {"blk.{delta}.ssm_ba.weight": lambda c: (c.hidden, 2 * _heads(c))}
