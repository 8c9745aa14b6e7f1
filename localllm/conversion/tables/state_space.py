"""Mamba-2: a state in place of keys and values, and a convolution over the last few tokens in front of it.

Hybrids put `mamba_` before the names that models without attention have in config.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Shapes
from localllm.conversion.keys import ModelKey, from_config
from localllm.conversion.ops import COLUMN, DROP_MIDDLE_AXIS, NEGATIVE_EXP, ROWS_BY_GROUP, Op, in_turn
from localllm.conversion.tables import shapes
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType

_ATTENTION = ("attention", "full_attention")  # as transformers 4 and 5 call it
_KERNEL = ("mamba_d_conv", "conv_kernel")
_STATE = ("mamba_d_state", "state_size")
_GROUPS = ("mamba_n_groups", "n_groups")
_HEADS = ("mamba_n_heads", "num_heads")
_NO_LIMITS = ([0.0, float("inf")], [0.0, {"__float__": "Infinity"}])  # as transformers 4 and 5 write it


def inner(config: ModelConfig) -> int:
    """Return how many channels all heads have together."""
    return config.integer("mamba_expand", "expand") * config.hidden


def _convolved(config: ModelConfig) -> int:
    return inner(config) + 2 * config.integer(*_GROUPS) * config.integer(*_STATE)


def _heads(config: ModelConfig) -> int:
    return config.integer(*_HEADS)


KEYS: tuple[ModelKey, ...] = (
    from_config("ssm.conv_kernel", ValueType.UINT32, *_KERNEL, required=True),
    from_config("ssm.state_size", ValueType.UINT32, *_STATE, required=True),
    from_config("ssm.group_count", ValueType.UINT32, *_GROUPS, required=True),
    ModelKey("ssm.inner_size", ValueType.UINT32, inner),
    from_config("ssm.time_step_rank", ValueType.UINT32, *_HEADS, required=True),
)
# without positions there is no end to them
ENDLESS_CONTEXT_KEY = ModelKey("context_length", ValueType.UINT32, lambda _: 2**20)


def ops(block: str) -> Mapping[str, Op]:
    """Return the verbs for what is in `block` ("mamba", "mixer") of a layer."""
    return {
        f"{block}.conv1d.weight": DROP_MIDDLE_AXIS,
        f"{block}.A_log": in_turn(NEGATIVE_EXP, COLUMN),
        f"{block}.D": COLUMN,
        f"{block}.norm.weight": ROWS_BY_GROUP,
    }


def splits(block: str) -> Mapping[str, tuple[str, ...]]:
    """Return the names that have to be others."""
    return {f"{block}.dt_bias": (f"{block}.dt_proj.bias",)}


SHAPES: Shapes = {
    "blk.{layer}.ssm_in.weight": lambda c: (c.hidden, inner(c) + _convolved(c) + _heads(c)),
    "blk.{layer}.ssm_conv1d.weight": lambda c: (c.integer(*_KERNEL), _convolved(c)),
    "blk.{layer}.ssm_conv1d.bias": lambda c: (_convolved(c),),
    "blk.{layer}.ssm_dt.bias": lambda c: (_heads(c),),
    "blk.{layer}.ssm_a": lambda c: (1, _heads(c)),
    "blk.{layer}.ssm_d": lambda c: (1, _heads(c)),
    "blk.{layer}.ssm_norm.weight": lambda c: (
        inner(c) // (c.integer(*_GROUPS) or 1),
        c.integer(*_GROUPS),
    ),
    "blk.{layer}.ssm_out.weight": lambda c: (inner(c), c.hidden),
}


# layers of a hybrid attend or have a state; attention has no positions
HYBRID_SHAPES: Shapes = (
    shapes.NORMS_BEFORE
    | shapes.only("attention", shapes.ATTENTION)
    | shapes.only("mamba", SHAPES)
    | shapes.OUTPUT_NORM
)
HYBRID_DEFAULTS: dict[str, Any] = {
    "mamba_expand": 2,
    "mamba_n_heads": 128,
    "mamba_n_groups": 1,
    "mamba_d_state": 256,
    "mamba_d_conv": 4,
}


def is_hybrid(config: Mapping[str, Any]) -> bool:
    """Tell whether config.json lists layers that do not attend, or no layers at all."""
    types = config.get("layer_types")
    return not isinstance(types, list) or any(kind not in _ATTENTION for kind in types)


def attends(config: ModelConfig) -> list[bool]:
    """Tell which layers of a hybrid attend."""
    indices = config.layer_numbers("attn_layer_indices")
    default = ["attention" if layer in indices else "mamba" for layer in range(config.layers)]
    return [kind in _ATTENTION for kind in config.layer_types(default)]


def kinds(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    """Return the layers with attention and those with a state."""
    flags = attends(config)
    return {
        "attention": [layer for layer in range(config.layers) if flags[layer]],
        "mamba": [layer for layer in range(config.layers) if not flags[layer]],
    }


HYBRID_KEYS: tuple[ModelKey, ...] = (
    ENDLESS_CONTEXT_KEY,
    ModelKey("rope.scaling.finetuned", ValueType.BOOL, lambda _: False),
    ModelKey("attention.head_count_kv", ValueType.INT32, lambda c: [c.kv_heads * a for a in attends(c)]),
)


def check(config: ModelConfig) -> None:
    """Refuse what the runtime has no numbers for: biases, limits of the time step, heads that do not fit."""
    config.require(hidden_act="silu")
    limits = config.get("time_step_limit")
    if (
        limits is not None
        and (list(limits) if isinstance(limits, list | tuple) else limits) not in _NO_LIMITS
    ):
        raise UnsupportedModelError(
            f"config.json: time_step_limit is {limits!r:.40}, but llama.cpp would not limit it"
        )
    heads, groups = _heads(config), config.integer(*_GROUPS)
    if not heads or inner(config) % heads or not groups or inner(config) % groups or heads % groups:
        raise UnsupportedModelError(
            f"config.json: {heads} heads in {groups} groups cannot share {inner(config)} channels"
        )
