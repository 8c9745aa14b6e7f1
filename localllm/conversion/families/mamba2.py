"""Mamba-2, also Mamba-Codestral: states alone, no attention in any layer."""

from __future__ import annotations

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, ModelKey, from_config
from localllm.conversion.tables import shapes, state_space
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType


def _check(config: ModelConfig) -> None:
    config.require(use_bias=False, use_conv_bias=True)
    state_space.check(config)
    size, heads = config.integer("head_dim"), config.integer("num_heads")
    if size * heads != state_space.inner(config):
        raise UnsupportedModelError(
            f"config.json: {heads} heads of {size} channels are not {state_space.inner(config)} together"
        )


MAMBA2 = Family(
    name="Mamba-2",
    architectures=("Mamba2ForCausalLM",),
    arch="mamba2",
    keys=(
        *(key for key in COMMON_KEYS if key.suffix in ("block_count", "embedding_length")),
        state_space.ENDLESS_CONTEXT_KEY,
        ModelKey("feed_forward_length", ValueType.UINT32, lambda _: 0),
        ModelKey("attention.head_count", ValueType.UINT32, lambda _: 0),
        from_config(
            "attention.layer_norm_rms_epsilon", ValueType.FLOAT32, "layer_norm_epsilon", required=True
        ),
        *state_space.KEYS,
    ),
    defaults={
        "layer_norm_epsilon": 1e-5,
        "expand": 2,
        "conv_kernel": 4,
        "state_size": 128,
        "n_groups": 8,
        "num_heads": 128,
        "head_dim": 64,
    },
    ops=state_space.ops("mixer"),
    splits=state_space.splits("mixer"),
    prefix="model.",  # of Mamba-Codestral's own form
    check=_check,
    shapes={"blk.{layer}.attn_norm.weight": lambda c: (c.hidden,)} | state_space.SHAPES | shapes.OUTPUT_NORM,
)

FAMILIES = (MAMBA2,)
