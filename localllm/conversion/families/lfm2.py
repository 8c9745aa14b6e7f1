"""LFM2: short convolutions in most layers, attention in a few."""

from __future__ import annotations

from localllm.conversion.family import Family
from localllm.conversion.keys import VOCABULARY_SIZE_KEY
from localllm.conversion.ops import DROP_MIDDLE_AXIS
from localllm.conversion.tables import short_convolution

LFM2 = Family(
    name="LFM2",
    architectures=("Lfm2ForCausalLM", "LFM2ForCausalLM"),
    arch="lfm2",
    keys=(*short_convolution.KEYS, VOCABULARY_SIZE_KEY),
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
    check=short_convolution.check,
    kinds=short_convolution.kinds,
    shapes=short_convolution.SHAPES,
)

FAMILIES = (LFM2,)
