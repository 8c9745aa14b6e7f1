"""Llama 2, 3, 3.1, 3.2, 3.3 and everything built like them: Mistral, Mixtral, Granite 3, SmolLM3.

The runtime rotates adjacent pairs, checkpoints hold split halves: query and key rows are permuted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import shapes
from localllm.conversion.family import ComputedTensor, Family
from localllm.conversion.keys import (
    COMMON_KEYS,
    EXPERT_KEYS,
    GIVEN_HEAD_SIZE_KEYS,
    HEAD_SIZE_KEYS,
    ModelKey,
    from_config,
)
from localllm.conversion.ops import PERMUTE_KEY, PERMUTE_QUERY, llama3_rope_factors
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType

_VOCABULARY_KEYS = (
    ModelKey("vocab_size", ValueType.UINT32, lambda c: c.integer("vocab_size")),
    ModelKey("rope.dimension_count", ValueType.UINT32, lambda c: c.head_size),
)
_OPS = {
    "q_proj.weight": PERMUTE_QUERY,
    "q_proj.bias": PERMUTE_QUERY,
    "k_proj.weight": PERMUTE_KEY,
    "k_proj.bias": PERMUTE_KEY,
}
_DENSE = shapes.NORMS_BEFORE | shapes.ATTENTION | shapes.GATED_FEED_FORWARD | shapes.OUTPUT_NORM


def _rope_factors(config: ModelConfig) -> Iterable[ComputedTensor]:
    if config.rope.get("rope_type") == "llama3":
        yield ComputedTensor("rope_freqs.weight", llama3_rope_factors(config))


LLAMA = Family(
    name="Llama",
    architectures=("LlamaForCausalLM", "LLaMAForCausalLM"),
    arch="llama",
    keys=(*COMMON_KEYS, *HEAD_SIZE_KEYS, *_VOCABULARY_KEYS),
    defaults={
        "vocab_size": 32000,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    ops=_OPS,
    computed=_rope_factors,
    shapes=_DENSE,
)

MISTRAL = replace(
    LLAMA,
    name="Mistral",
    architectures=("MistralForCausalLM",),
    keys=(*COMMON_KEYS, *GIVEN_HEAD_SIZE_KEYS, *_VOCABULARY_KEYS),
    defaults=LLAMA.defaults | {"num_key_value_heads": 8, "max_position_embeddings": 131072},
)

MIXTRAL = replace(
    MISTRAL,
    name="Mixtral",
    architectures=("MixtralForCausalLM",),
    keys=(*MISTRAL.keys, *EXPERT_KEYS),
    defaults=MISTRAL.defaults
    | {"rms_norm_eps": 1e-5, "rope_theta": 1e6, "num_local_experts": 8, "num_experts_per_tok": 2},
    splits={
        "mlp.experts.gate_up_proj": (
            "block_sparse_moe.experts.w1.weight",
            "block_sparse_moe.experts.w3.weight",
        ),
        "mlp.experts.down_proj": ("block_sparse_moe.experts.w2.weight",),
        "mlp.gate.weight": ("block_sparse_moe.gate.weight",),
    },
    shapes=shapes.NORMS_BEFORE | shapes.ATTENTION | shapes.experts("intermediate_size") | shapes.OUTPUT_NORM,
)


def _check_granite(config: ModelConfig) -> None:
    given = config.get("head_dim")
    if given is not None and given * config.heads != config.hidden:
        raise UnsupportedModelError(
            f"config.json: head_dim {given} is not hidden_size / heads, which llama.cpp takes for Granite"
        )


GRANITE = replace(
    LLAMA,
    name="Granite 3",
    architectures=("GraniteForCausalLM",),
    arch="granite",
    keys=(
        *COMMON_KEYS,
        *_VOCABULARY_KEYS,
        from_config("attention.scale", ValueType.FLOAT32, "attention_multiplier"),
        from_config("embedding_scale", ValueType.FLOAT32, "embedding_multiplier"),
        from_config("residual_scale", ValueType.FLOAT32, "residual_multiplier"),
        from_config("logit_scale", ValueType.FLOAT32, "logits_scaling"),
    ),
    defaults=LLAMA.defaults
    | {
        "attention_multiplier": 1.0,
        "embedding_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "logits_scaling": 1.0,
    },
    check=_check_granite,
)


def _check_smollm3(config: ModelConfig) -> None:
    """The runtime rotates in three of every four layers, whatever config.json says."""
    given = config.get("no_rope_layers")
    runtime = [int((layer + 1) % 4 != 0) for layer in range(config.layers)]
    if given is not None and list(given) != runtime:
        raise UnsupportedModelError(
            f"config.json: no_rope_layers is {given}, but llama.cpp leaves out every fourth layer"
        )


SMOLLM3 = replace(
    LLAMA,
    name="SmolLM3",
    architectures=("SmolLM3ForCausalLM",),
    arch="smollm3",
    keys=(*COMMON_KEYS, *GIVEN_HEAD_SIZE_KEYS, *_VOCABULARY_KEYS),
    defaults=LLAMA.defaults | {"num_key_value_heads": 4, "max_position_embeddings": 32768, "rope_theta": 2e6},
    check=_check_smollm3,
)

FAMILIES = (LLAMA, MISTRAL, MIXTRAL, GRANITE, SMOLLM3)
