"""Mistral and its mixture of experts Mixtral: Llama's layers."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.families.llama import LLAMA
from localllm.conversion.keys import COMMON_KEYS, EXPERT_KEYS, GIVEN_HEAD_SIZE_KEYS, VOCABULARY_SIZE_KEY
from localllm.conversion.tables import rotation, shapes, windows

MISTRAL = replace(
    LLAMA,
    name="Mistral",
    architectures=("MistralForCausalLM",),
    keys=(*COMMON_KEYS, *GIVEN_HEAD_SIZE_KEYS, VOCABULARY_SIZE_KEY, rotation.WHOLE_HEAD_KEY),
    defaults=LLAMA.defaults | {"num_key_value_heads": 8, "max_position_embeddings": 131072},
    remarks=windows.remark_unused,
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

FAMILIES = (MISTRAL, MIXTRAL)
