"""Llama 2, 3, 3.1, 3.2 and 3.3."""

from __future__ import annotations

from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, HEAD_SIZE_KEYS, VOCABULARY_SIZE_KEY
from localllm.conversion.tables import rotation, shapes

LLAMA = Family(
    name="Llama",
    architectures=("LlamaForCausalLM", "LLaMAForCausalLM"),
    arch="llama",
    keys=(*COMMON_KEYS, *HEAD_SIZE_KEYS, VOCABULARY_SIZE_KEY, rotation.WHOLE_HEAD_KEY),
    defaults={
        "vocab_size": 32000,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    ops=rotation.ADJACENT_PAIRS,
    computed=rotation.llama3_factors,
    shapes=shapes.NORMS_BEFORE | shapes.ATTENTION | shapes.GATED_FEED_FORWARD | shapes.OUTPUT_NORM,
)

FAMILIES = (LLAMA,)
