"""Layers that mix the last few tokens by a short convolution, among others with attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Shapes
from localllm.conversion.keys import COMMON_KEYS, ModelKey, from_config, without
from localllm.conversion.tables import shapes
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType


def _attends(config: ModelConfig) -> list[bool]:
    """Tell which layers attend; old configurations list their numbers."""
    indices = config.layer_numbers("full_attn_idxs")
    default = ["full_attention" if layer in indices else "conv" for layer in range(config.layers)]
    return [kind == "full_attention" for kind in config.layer_types(default)]


def kinds(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    """Return the layers that attend and that convolve, the dense ones and the mixtures of experts."""
    dense = (
        config.integer("num_dense_layers") if config.get("num_dense_layers") is not None else config.layers
    )
    return {
        "attention": [layer for layer, attends in enumerate(_attends(config)) if attends],
        "convolution": [layer for layer, attends in enumerate(_attends(config)) if not attends],
        "dense": range(min(dense, config.layers)),
        "mixture": range(dense, config.layers),
    }


def _inner(config: ModelConfig) -> int:
    """Return the true width of the dense feed-forward block, which config.json states before adjustments."""
    width = config.integer("block_ff_dim", "intermediate_size")
    if not config.get("block_auto_adjust_ff_dim"):
        return width
    multiple = config.positive("block_multiple_of")
    width = int(config.number("block_ffn_dim_multiplier") * int(2 * width / 3))
    return multiple * -(-width // multiple)


def check(config: ModelConfig) -> None:
    """The runtime has no biases here, sums the experts' weights to one and scales them by none."""
    config.require(conv_bias=False, norm_topk_prob=True, use_expert_bias=True, routed_scaling_factor=1.0)
    if config.head_size * config.heads != config.hidden:
        raise UnsupportedModelError("config.json: the heads are not as wide as the model together")


KEYS: tuple[ModelKey, ...] = (
    *without(COMMON_KEYS, "feed_forward_length", "attention.head_count_kv"),
    ModelKey("feed_forward_length", ValueType.UINT32, _inner),
    ModelKey("attention.head_count_kv", ValueType.INT32, lambda c: [c.kv_heads * a for a in _attends(c)]),
    from_config("shortconv.l_cache", ValueType.UINT32, "conv_L_cache", required=True),
)
SHAPES: Shapes = (
    shapes.NORMS_BEFORE
    | shapes.only("attention", shapes.ATTENTION | shapes.HEAD_NORMS)
    | {
        "token_embd_norm.weight": lambda c: (c.hidden,),
        "blk.{convolution}.shortconv.in_proj.weight": lambda c: (c.hidden, 3 * c.hidden),
        "blk.{convolution}.shortconv.conv.weight": lambda c: (c.integer("conv_L_cache"), c.hidden),
        "blk.{convolution}.shortconv.out_proj.weight": lambda c: (c.hidden, c.hidden),
        "blk.{dense}.ffn_gate.weight": lambda c: (c.hidden, _inner(c)),
        "blk.{dense}.ffn_up.weight": lambda c: (c.hidden, _inner(c)),
        "blk.{dense}.ffn_down.weight": lambda c: (_inner(c), c.hidden),
    }
)
