"""GPT-2: fused queries, keys and values, layer norms, no gate, and matrices with rows as columns."""

from __future__ import annotations

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Family
from localllm.conversion.keys import LAYER_NORM_KEYS, ModelKey, unscaled_rope, without
from localllm.conversion.ops import TRANSPOSE
from localllm.conversion.tables import shapes
from localllm.gguf_file.format import ValueType


def _inner(config: ModelConfig) -> int:
    return 4 * config.hidden if config.get("n_inner") is None else config.integer("n_inner")


GPT2 = Family(
    name="GPT-2",
    architectures=("GPT2LMHeadModel",),
    arch="gpt2",
    keys=(
        *without(LAYER_NORM_KEYS, "feed_forward_length"),
        ModelKey("feed_forward_length", ValueType.UINT32, _inner),
    ),
    defaults={"n_positions": 1024, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True},
    ops=dict.fromkeys(("c_attn.weight", "c_proj.weight", "c_fc.weight"), TRANSPOSE),
    drop=(".attn.bias", ".attn.masked_bias"),
    scaling=unscaled_rope,
    shapes=shapes.NORMS_BEFORE
    | shapes.FUSED_ATTENTION
    | shapes.OUTPUT_NORM
    | {
        "position_embd.weight": lambda c: (c.hidden, c.integer("n_positions", "n_ctx")),
        "blk.{layer}.ffn_up.weight": lambda c: (c.hidden, _inner(c)),
        "blk.{layer}.ffn_down.weight": lambda c: (_inner(c), c.hidden),
    },
)

FAMILIES = (GPT2,)
