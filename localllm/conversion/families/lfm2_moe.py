"""LFM2 as mixtures of experts behind some dense layers."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.families.lfm2 import LFM2
from localllm.conversion.keys import required
from localllm.conversion.tables import experts, shapes

_EXPERTS = "feed_forward.experts"
_GATE, _UP, _DOWN = (f"{_EXPERTS}.{kind}_proj.weight" for kind in ("gate", "up", "down"))

LFM2_MOE = replace(
    LFM2,
    name="LFM2-MoE",
    architectures=("Lfm2MoeForCausalLM",),
    arch="lfm2moe",
    keys=(
        *LFM2.keys,
        *experts.mixture_keys(),
        required("leading_dense_block_count", "num_dense_layers"),
        experts.SIGMOID_KEY,
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
        f"{_EXPERTS}.w1.weight": (_GATE,),
        f"{_EXPERTS}.w2.weight": (_DOWN,),
        f"{_EXPERTS}.w3.weight": (_UP,),
        f"{_EXPERTS}.gate_up_proj": (_GATE, _UP),
        f"{_EXPERTS}.down_proj": (_DOWN,),
    },
    shapes=LFM2.shapes
    | shapes.only("mixture", shapes.experts("moe_intermediate_size"))
    | {"blk.{mixture}.exp_probs_b.bias": lambda c: (c.integer("num_experts"),)},
)

FAMILIES = (LFM2_MOE,)
