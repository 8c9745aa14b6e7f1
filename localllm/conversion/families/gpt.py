"""GPT-2 and GPT-NeoX: fused queries, keys and values, layer norms, no gate."""

from __future__ import annotations

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import shapes
from localllm.conversion.family import Family
from localllm.conversion.keys import LAYER_NORM_KEYS, UNUSUAL_THETA_KEY, ModelKey, unscaled_rope
from localllm.conversion.ops import SPLIT_FUSED_HEADS, TRANSPOSE
from localllm.gguf_file.format import ValueType


def _inner(config: ModelConfig) -> int:
    return 4 * config.hidden if config.get("n_inner") is None else config.integer("n_inner")


GPT2 = Family(
    name="GPT-2",
    architectures=("GPT2LMHeadModel",),
    arch="gpt2",
    keys=(
        *(key for key in LAYER_NORM_KEYS if key.suffix != "feed_forward_length"),
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


GPT_NEOX = Family(
    name="GPT-NeoX",
    architectures=("GPTNeoXForCausalLM",),
    arch="gptneox",
    keys=(
        *LAYER_NORM_KEYS,
        UNUSUAL_THETA_KEY,
        ModelKey("rope.dimension_count", ValueType.UINT32, lambda c: c.rotary_size),
        ModelKey("use_parallel_residual", ValueType.BOOL, lambda c: bool(c.get("use_parallel_residual"))),
    ),
    defaults={
        "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-5,
        "rotary_pct": 0.25,
        "use_parallel_residual": True,
    },
    ops=dict.fromkeys(("query_key_value.weight", "query_key_value.bias"), SPLIT_FUSED_HEADS),
    scaling=unscaled_rope,
    output_optional=False,
    shapes=shapes.NORMS_BEFORE | shapes.FUSED_ATTENTION | shapes.FEED_FORWARD | shapes.OUTPUT_NORM,
)

FAMILIES = (GPT2, GPT_NEOX)
