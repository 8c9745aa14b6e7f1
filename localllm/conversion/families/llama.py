"""Llama 2, 3, 3.1, 3.2, 3.3 and everything built like them; Mistral with its own defaults.

The runtime rotates adjacent pairs, checkpoints hold split halves: query and key rows are permuted.
"""

from __future__ import annotations

from collections.abc import Iterable

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import ComputedTensor, Family
from localllm.conversion.keys import COMMON_KEYS, HEAD_SIZE_KEYS, ModelKey
from localllm.conversion.ops import PERMUTE_KEY, PERMUTE_QUERY, llama3_rope_factors
from localllm.gguf_file.format import ValueType

_KEYS = (
    *COMMON_KEYS,
    *HEAD_SIZE_KEYS,
    ModelKey("vocab_size", ValueType.UINT32, lambda c: c.integer("vocab_size")),
    ModelKey("rope.dimension_count", ValueType.UINT32, lambda c: c.head_size),
)
_OPS = {
    "q_proj.weight": PERMUTE_QUERY,
    "q_proj.bias": PERMUTE_QUERY,
    "k_proj.weight": PERMUTE_KEY,
    "k_proj.bias": PERMUTE_KEY,
}


def _rope_factors(config: ModelConfig) -> Iterable[ComputedTensor]:
    if config.rope.get("rope_type") == "llama3":
        yield ComputedTensor("rope_freqs.weight", llama3_rope_factors(config))


LLAMA = Family(
    name="Llama",
    architectures=("LlamaForCausalLM", "LLaMAForCausalLM"),
    arch="llama",
    keys=_KEYS,
    defaults={
        "vocab_size": 32000,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    ops=_OPS,
    computed=_rope_factors,
)

MISTRAL = Family(
    name="Mistral",
    architectures=("MistralForCausalLM",),
    arch="llama",
    keys=_KEYS,
    defaults={
        "vocab_size": 32000,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    ops=_OPS,
    computed=_rope_factors,
)
