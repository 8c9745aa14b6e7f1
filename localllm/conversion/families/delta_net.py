"""What families with gated delta nets (linear attention) share: their keys, verbs and shapes.

Key heads are fewer than value heads, each serves several of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import shapes
from localllm.conversion.family import Shapes
from localllm.conversion.keys import ModelKey, from_config
from localllm.conversion.ops import (
    DROP_MIDDLE_AXIS,
    NEGATIVE_EXP,
    TILE_HEADS,
    TILE_VALUE_COLUMNS,
    TILE_VALUE_ROWS,
    TILE_VALUES_BEHIND,
    Op,
    in_turn,
)
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType

_INTERVAL = 4


def _interval(config: ModelConfig) -> int:
    """Return how many layers there are from one with attention to the next."""
    name = "full_attention_interval"
    return _INTERVAL if config.get(name) is None else config.positive(name)


def _recurs(config: ModelConfig) -> list[bool]:
    """Tell which layers are delta nets; by default all but every fourth."""
    interval = _interval(config)
    default = [
        "full_attention" if layer % interval == interval - 1 else "linear_attention"
        for layer in range(config.layers)
    ]
    return [kind == "linear_attention" for kind in config.layer_types(default)]


def kinds(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    """Return the layers with attention and those with delta nets."""
    recurs = _recurs(config)
    return {
        "attention": [layer for layer in range(config.layers) if not recurs[layer]],
        "delta": [layer for layer in range(config.layers) if recurs[layer]],
    }


def check(config: ModelConfig) -> None:
    """Refuse heads the runtime has no numbers for."""
    keys, values = config.integer("linear_num_key_heads"), config.integer("linear_num_value_heads")
    if not keys or values % keys:
        raise UnsupportedModelError(f"config.json: {values} value heads cannot share {keys} key heads")
    config.require(linear_value_head_dim=config.integer("linear_key_head_dim"))


def _values(config: ModelConfig) -> int:
    return config.integer("linear_num_value_heads") * config.integer("linear_value_head_dim")


def _convolved(config: ModelConfig) -> int:
    keys = config.integer("linear_num_key_heads") * config.integer("linear_key_head_dim")
    return 2 * keys + _values(config)


def _heads(config: ModelConfig) -> int:
    return config.integer("linear_num_value_heads")


KEYS: tuple[ModelKey, ...] = (
    from_config("ssm.conv_kernel", ValueType.UINT32, "linear_conv_kernel_dim", required=True),
    from_config("ssm.state_size", ValueType.UINT32, "linear_key_head_dim", required=True),
    from_config("ssm.group_count", ValueType.UINT32, "linear_num_key_heads", required=True),
    from_config("ssm.time_step_rank", ValueType.UINT32, "linear_num_value_heads", required=True),
    ModelKey("ssm.inner_size", ValueType.UINT32, _values),
    ModelKey("attention.recurrent_layers", ValueType.BOOL, _recurs),
    ModelKey("full_attention_interval", ValueType.UINT32, _interval),
)
OPS: Mapping[str, Op] = {
    "in_proj_qkv.weight": TILE_VALUES_BEHIND,
    "in_proj_z.weight": TILE_VALUE_ROWS,
    "in_proj_a.weight": TILE_HEADS,
    "in_proj_b.weight": TILE_HEADS,
    "linear_attn.A_log": in_turn(TILE_HEADS, NEGATIVE_EXP),
    "linear_attn.dt_proj.bias": TILE_HEADS,
    "linear_attn.conv1d.weight": in_turn(DROP_MIDDLE_AXIS, TILE_VALUES_BEHIND),
    "linear_attn.out_proj.weight": TILE_VALUE_COLUMNS,
}
SHAPES: Shapes = shapes.only(
    "attention",
    shapes.ATTENTION
    | shapes.HEAD_NORMS
    # a gate behind the query of each head
    | {"blk.{layer}.attn_q.weight": lambda c: (c.hidden, 2 * c.heads * c.head_size)},
) | {
    "blk.{layer}.attn_norm.weight": lambda c: (c.hidden,),
    "blk.{layer}.post_attention_norm.weight": lambda c: (c.hidden,),
    "blk.{delta}.attn_qkv.weight": lambda c: (c.hidden, _convolved(c)),
    "blk.{delta}.attn_gate.weight": lambda c: (c.hidden, _values(c)),
    "blk.{delta}.ssm_alpha.weight": lambda c: (c.hidden, _heads(c)),
    "blk.{delta}.ssm_beta.weight": lambda c: (c.hidden, _heads(c)),
    "blk.{delta}.ssm_conv1d.weight": lambda c: (c.integer("linear_conv_kernel_dim"), _convolved(c)),
    "blk.{delta}.ssm_a": lambda c: (_heads(c),),
    "blk.{delta}.ssm_dt.bias": lambda c: (_heads(c),),
    "blk.{delta}.ssm_norm.weight": lambda c: (c.integer("linear_value_head_dim"),),
    "blk.{delta}.ssm_out.weight": lambda c: (_values(c), c.hidden),
}
