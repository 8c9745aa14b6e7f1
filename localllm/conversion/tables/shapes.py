"""The tensors that families share, with the shapes a configuration gives them, row length first."""

from __future__ import annotations

from localllm.conversion.config import EXPERT_COUNT, ModelConfig
from localllm.conversion.family import Shapes


def only(kind: str, shapes: Shapes) -> Shapes:
    """Return the shapes of tensors that only layers of one kind have; see `Family.kinds`."""
    return {name.replace("{layer}", f"{{{kind}}}"): shape for name, shape in shapes.items()}


def inner(config: ModelConfig) -> int:
    """Return the width of the feed-forward block."""
    return config.integer("intermediate_size", "n_inner")


def _query(config: ModelConfig) -> int:
    return config.heads * config.head_size


def _key(config: ModelConfig) -> int:
    return config.kv_heads * config.head_size


OUTPUT_NORM: Shapes = {"output_norm.weight": lambda c: (c.hidden,)}
ATTENTION: Shapes = {
    "blk.{layer}.attn_q.weight": lambda c: (c.hidden, _query(c)),
    "blk.{layer}.attn_k.weight": lambda c: (c.hidden, _key(c)),
    "blk.{layer}.attn_v.weight": lambda c: (c.hidden, _key(c)),
    "blk.{layer}.attn_output.weight": lambda c: (_query(c), c.hidden),
}
FUSED_ATTENTION: Shapes = {
    "blk.{layer}.attn_qkv.weight": lambda c: (c.hidden, _query(c) + 2 * _key(c)),
    "blk.{layer}.attn_output.weight": lambda c: (_query(c), c.hidden),
}
HEAD_NORMS: Shapes = {
    "blk.{layer}.attn_q_norm.weight": lambda c: (c.head_size,),
    "blk.{layer}.attn_k_norm.weight": lambda c: (c.head_size,),
}
FULL_NORMS: Shapes = {
    "blk.{layer}.attn_q_norm.weight": lambda c: (_query(c),),
    "blk.{layer}.attn_k_norm.weight": lambda c: (_key(c),),
}
NORMS_BEFORE: Shapes = {
    "blk.{layer}.attn_norm.weight": lambda c: (c.hidden,),
    "blk.{layer}.ffn_norm.weight": lambda c: (c.hidden,),
}
NORMS_AROUND_ATTENTION: Shapes = {
    "blk.{layer}.attn_norm.weight": lambda c: (c.hidden,),
    "blk.{layer}.post_attention_norm.weight": lambda c: (c.hidden,),
}
NORMS_AFTER: Shapes = {
    "blk.{layer}.post_attention_norm.weight": lambda c: (c.hidden,),
    "blk.{layer}.post_ffw_norm.weight": lambda c: (c.hidden,),
}

# what joins the hidden state to the embedding of the next token, in layers for multi-token prediction
PREDICTION: Shapes = {
    "blk.{mtp}.nextn.eh_proj.weight": lambda c: (2 * c.hidden, c.hidden),
    "blk.{mtp}.nextn.enorm.weight": lambda c: (c.hidden,),
    "blk.{mtp}.nextn.hnorm.weight": lambda c: (c.hidden,),
    "blk.{mtp}.nextn.shared_head_norm.weight": lambda c: (c.hidden,),
}


def gated(*width: str, name: str = "blk.{layer}.ffn_%s.weight") -> Shapes:
    """Return the shapes of a feed-forward block with a gate; `width` names its width in config.json."""
    return {
        name % "gate": lambda c: (c.hidden, c.integer(*width)),
        name % "up": lambda c: (c.hidden, c.integer(*width)),
        name % "down": lambda c: (c.integer(*width), c.hidden),
    }


def shared_expert(*width: str) -> Shapes:
    """Return the shapes of the expert beside a mixture that sees every token."""
    return gated(*width, name="blk.{layer}.ffn_%s_shexp.weight")


GATED_FEED_FORWARD: Shapes = gated("intermediate_size", "n_inner")
FEED_FORWARD: Shapes = {
    "blk.{layer}.ffn_up.weight": lambda c: (c.hidden, inner(c)),
    "blk.{layer}.ffn_down.weight": lambda c: (inner(c), c.hidden),
}


def experts(*width: str) -> Shapes:
    """Return the shapes of a mixture of experts, each as wide as the first of `width` in config.json."""

    def count(config: ModelConfig) -> int:
        return config.integer(*EXPERT_COUNT)

    return {
        "blk.{layer}.ffn_gate_inp.weight": lambda c: (c.hidden, count(c)),
        "blk.{layer}.ffn_gate_exps.weight": lambda c: (c.hidden, c.integer(*width), count(c)),
        "blk.{layer}.ffn_up_exps.weight": lambda c: (c.hidden, c.integer(*width), count(c)),
        "blk.{layer}.ffn_down_exps.weight": lambda c: (c.integer(*width), c.hidden, count(c)),
    }
