"""LFM2, dense and as mixtures of experts: short convolutions in most layers, attention in a few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import shapes
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, EXPERT_KEYS, ModelKey, from_config
from localllm.conversion.ops import DROP_MIDDLE_AXIS
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType

_SIGMOID = 2


def _attends(config: ModelConfig) -> list[bool]:
    """Tell which layers attend; old configurations list their numbers."""
    indices = config.layer_numbers("full_attn_idxs")
    default = ["full_attention" if layer in indices else "conv" for layer in range(config.layers)]
    return [kind == "full_attention" for kind in config.layer_types(default)]


def _kinds(config: ModelConfig) -> Mapping[str, Sequence[int]]:
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


def _check(config: ModelConfig) -> None:
    """The runtime has no biases here, sums the experts' weights to one and scales them by none."""
    config.require(conv_bias=False, norm_topk_prob=True, use_expert_bias=True, routed_scaling_factor=1.0)
    if config.head_size * config.heads != config.hidden:
        raise UnsupportedModelError("config.json: the heads are not as wide as the model together")


_SHAPES = (
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

LFM2 = Family(
    name="LFM2",
    architectures=("Lfm2ForCausalLM", "LFM2ForCausalLM"),
    arch="lfm2",
    keys=(
        *(k for k in COMMON_KEYS if k.suffix not in ("feed_forward_length", "attention.head_count_kv")),
        ModelKey("feed_forward_length", ValueType.UINT32, _inner),
        ModelKey("attention.head_count_kv", ValueType.INT32, lambda c: [c.kv_heads * a for a in _attends(c)]),
        from_config("vocab_size", ValueType.UINT32, "vocab_size", required=True),
        from_config("shortconv.l_cache", ValueType.UINT32, "conv_L_cache", required=True),
    ),
    defaults={
        "num_key_value_heads": 8,
        "max_position_embeddings": 128000,
        "norm_eps": 1e-5,
        "rope_theta": 1e6,
        "conv_L_cache": 3,
        "block_multiple_of": 256,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": True,
        "tie_word_embeddings": True,
    },
    ops={"conv.conv.weight": DROP_MIDDLE_AXIS},
    check=_check,
    kinds=_kinds,
    shapes=_SHAPES,
)

LFM2_MOE = replace(
    LFM2,
    name="LFM2-MoE",
    architectures=("Lfm2MoeForCausalLM",),
    arch="lfm2moe",
    keys=(
        *LFM2.keys,
        *EXPERT_KEYS,
        from_config("expert_feed_forward_length", ValueType.UINT32, "moe_intermediate_size", required=True),
        from_config("leading_dense_block_count", ValueType.UINT32, "num_dense_layers", required=True),
        ModelKey("expert_gating_func", ValueType.UINT32, lambda _: _SIGMOID),
    ),
    defaults=LFM2.defaults
    | {
        "num_experts": 32,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 1792,
        "num_dense_layers": 2,
        "block_auto_adjust_ff_dim": False,
    },
    splits={
        "feed_forward.expert_bias": ("feed_forward.expert_bias.bias",),
        "feed_forward.experts.w1.weight": ("feed_forward.experts.gate_proj.weight",),
        "feed_forward.experts.w2.weight": ("feed_forward.experts.down_proj.weight",),
        "feed_forward.experts.w3.weight": ("feed_forward.experts.up_proj.weight",),
        "feed_forward.experts.gate_up_proj": (
            "feed_forward.experts.gate_proj.weight",
            "feed_forward.experts.up_proj.weight",
        ),
        "feed_forward.experts.down_proj": ("feed_forward.experts.down_proj.weight",),
    },
    shapes=_SHAPES
    | shapes.only("mixture", shapes.experts("moe_intermediate_size"))
    | {"blk.{mixture}.exp_probs_b.bias": lambda c: (c.integer("num_experts"),)},
)

FAMILIES = (LFM2, LFM2_MOE)
