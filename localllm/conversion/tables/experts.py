"""Mixtures of experts: their metadata, and the ways in which checkpoints hold experts together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Shapes
from localllm.conversion.keys import EXPERT_KEYS, ModelKey, from_config, required
from localllm.conversion.mxfp4_views import mxfp4_experts, mxfp4_scales
from localllm.conversion.tables import shapes
from localllm.conversion.views import (
    View,
    experts_of_columns,
    interleaved_biases,
    turned,
)
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType

SHARED_WIDTH = "shared_expert_intermediate_size"
SOFTMAX_KEY = ModelKey("expert_gating_func", ValueType.UINT32, lambda _: 1)
SIGMOID_KEY = ModelKey("expert_gating_func", ValueType.UINT32, lambda _: 2)
# the weights of the experts that are used sum to one; they do not where the key is missing
NORMALISES_KEY = ModelKey(
    "expert_weights_norm", ValueType.BOOL, lambda c: bool(c.get("norm_topk_prob")) or None
)
SHARED_WIDTH_KEY = required("expert_shared_feed_forward_length", SHARED_WIDTH)


def _group_key(suffix: str, name: str) -> ModelKey:
    """Take a number of groups, if they limit the choice: llama.cpp does not load files where all are used."""

    def value(config: ModelConfig) -> int | None:
        groups, used = (0 if config.get(n) is None else config.integer(n) for n in ("n_group", "topk_group"))
        limits = used < groups and config.get("topk_method") != "greedy"
        return config.integer(name) if groups == 1 or limits else None

    return ModelKey(suffix, ValueType.UINT32, value)


# experts in groups, behind some layers without any
GROUP_KEYS: tuple[ModelKey, ...] = (
    _group_key("expert_group_count", "n_group"),
    _group_key("expert_group_used_count", "topk_group"),
    required("expert_shared_count", "n_shared_experts"),
    required("leading_dense_block_count", "first_k_dense_replace"),
    from_config("expert_weights_scale", ValueType.FLOAT32, "routed_scaling_factor", required=True),
)


def _shared(config: ModelConfig) -> int:
    return config.integer("moe_intermediate_size") * config.integer("n_shared_experts")


# experts beside one that sees every token as far as its gate lets it
GATED_SHAPES: Shapes = (
    shapes.experts("moe_intermediate_size")
    | shapes.shared_expert(SHARED_WIDTH)
    | {"blk.{layer}.ffn_gate_inp_shexp.weight": lambda c: (c.hidden, 1)}
)
SHARING_SHAPES: Shapes = shapes.experts("moe_intermediate_size") | {
    "blk.{layer}.ffn_gate_shexp.weight": lambda c: (c.hidden, _shared(c)),
    "blk.{layer}.ffn_up_shexp.weight": lambda c: (c.hidden, _shared(c)),
    "blk.{layer}.ffn_down_shexp.weight": lambda c: (_shared(c), c.hidden),
}
GROUPED_SHAPES: Shapes = SHARING_SHAPES | {
    "blk.{layer}.exp_probs_b.bias": lambda c: (c.integer("n_routed_experts"),),
}


def mixture_keys(width: str = "moe_intermediate_size") -> tuple[ModelKey, ...]:
    """Return how many experts there are, are used, and how wide each is, which `width` names."""
    return (*EXPERT_KEYS, required("expert_feed_forward_length", width))


def behind_dense(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    """Return the dense layers, which come first, and the mixtures of experts."""
    dense = config.integer("first_k_dense_replace")
    return {"dense": range(min(dense, config.layers)), "mixture": range(dense, config.blocks)}


# all experts of a layer in one tensor, the rows of the gate in front of those of the up projection
FUSED: Mapping[str, tuple[str, ...]] = {
    "mlp.experts.gate_up_proj": ("mlp.experts.gate_proj.weight", "mlp.experts.up_proj.weight"),
    "mlp.experts.down_proj": ("mlp.experts.down_proj.weight",),
}


def columns(block: str, *, interleaved: bool) -> Mapping[str, View]:
    """View the experts of `block` ("mlp", "feed_forward"), whose matrices are held with rows as columns."""
    gate, up, down = (f"{block}.experts.{kind}_proj.weight" for kind in ("gate", "up", "down"))
    return {
        f"{block}.experts.gate_up_proj": experts_of_columns(gate, up, interleaved=interleaved),
        f"{block}.experts.down_proj": turned(down),
    }


def mxfp4(block: str) -> Mapping[str, View]:
    """View experts held as codes and scales, gate and up projections in turn, and their biases."""
    gate, up, down = (f"{block}.experts.{kind}_proj" for kind in ("gate", "up", "down"))
    return {
        f"{block}.experts.gate_up_proj_bias": interleaved_biases(f"{gate}.bias", f"{up}.bias"),
        f"{block}.experts.gate_up_proj_blocks": mxfp4_experts(f"{gate}.weight", f"{up}.weight"),
        f"{block}.experts.gate_up_proj_scales": mxfp4_scales,
        f"{block}.experts.down_proj_blocks": mxfp4_experts(f"{down}.weight"),
        f"{block}.experts.down_proj_scales": mxfp4_scales,
    }


def check_every_layer(config: ModelConfig) -> None:
    """Refuse dense layers among mixtures: the runtime expects a mixture in every layer."""
    if config.get("decoder_sparse_step") not in (None, 1) or config.get("mlp_only_layers"):
        raise UnsupportedModelError(
            "dense layers among the mixtures of experts are not supported by llama.cpp"
        )
