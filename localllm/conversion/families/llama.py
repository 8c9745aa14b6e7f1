"""Llama 2, 3, 3.1, 3.2, 3.3 and everything built like them; Mistral with its own defaults.

The runtime rotates adjacent pairs, checkpoints hold split halves: query and key rows are permuted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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


def _hidden(config: ModelConfig) -> int:
    return config.integer("hidden_size", "n_embd")


def _inner(config: ModelConfig) -> int:
    return config.integer("intermediate_size", "n_inner")


_SHAPES: dict[str, Callable[[ModelConfig], tuple[int, ...]]] = {
    "blk.{layer}.attn_norm.weight": lambda c: (_hidden(c),),
    "blk.{layer}.attn_q.weight": lambda c: (_hidden(c), c.heads * c.head_size),
    "blk.{layer}.attn_k.weight": lambda c: (_hidden(c), c.kv_heads * c.head_size),
    "blk.{layer}.attn_v.weight": lambda c: (_hidden(c), c.kv_heads * c.head_size),
    "blk.{layer}.attn_output.weight": lambda c: (c.heads * c.head_size, _hidden(c)),
    "blk.{layer}.ffn_norm.weight": lambda c: (_hidden(c),),
    "blk.{layer}.ffn_gate.weight": lambda c: (_hidden(c), _inner(c)),
    "blk.{layer}.ffn_up.weight": lambda c: (_hidden(c), _inner(c)),
    "blk.{layer}.ffn_down.weight": lambda c: (_inner(c), _hidden(c)),
    "output_norm.weight": lambda c: (_hidden(c),),
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
    shapes=_SHAPES,
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
    shapes=_SHAPES,
)
