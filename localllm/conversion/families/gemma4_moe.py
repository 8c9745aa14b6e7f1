"""Gemma 4 with experts beside the dense block of every layer; gate and up projections stay fused."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.families.gemma4 import GEMMA4, is_mixture
from localllm.conversion.keys import from_config
from localllm.conversion.tables import shapes
from localllm.gguf_file.format import ValueType

_WIDTH = ("expert_intermediate_size", "moe_intermediate_size")

GEMMA4_MOE = replace(
    GEMMA4,
    name="Gemma 4 MoE",
    matches=is_mixture,
    keys=(
        *GEMMA4.keys,
        from_config("expert_count", ValueType.UINT32, "num_experts", required=True),
        from_config("expert_used_count", ValueType.UINT32, "top_k_experts", required=True),
        from_config("expert_feed_forward_length", ValueType.UINT32, *_WIDTH, required=True),
    ),
    splits={
        **GEMMA4.splits,
        "router.scale": ("router.proj.scale",),
        "router.per_expert_scale": ("experts.down_proj.scale",),
        "experts.gate_up_proj": ("experts.gate_up_proj.weight",),
        "experts.down_proj": ("experts.down_proj.weight",),
    },
    shapes=GEMMA4.shapes
    | {
        name: shape
        for name, shape in shapes.experts(*_WIDTH).items()
        if name not in ("blk.{layer}.ffn_gate_exps.weight", "blk.{layer}.ffn_up_exps.weight")
    }
    | {
        "blk.{layer}.ffn_gate_up_exps.weight": lambda c: (
            c.hidden,
            2 * c.integer(*_WIDTH),
            c.integer("num_experts"),
        ),
        "blk.{layer}.ffn_gate_inp.scale": lambda c: (c.hidden,),
        "blk.{layer}.ffn_down_exps.scale": lambda c: (c.integer("num_experts"),),
        "blk.{layer}.pre_ffw_norm_2.weight": lambda c: (c.hidden,),
        "blk.{layer}.post_ffw_norm_1.weight": lambda c: (c.hidden,),
        "blk.{layer}.post_ffw_norm_2.weight": lambda c: (c.hidden,),
    },
)

FAMILIES = (GEMMA4_MOE,)
