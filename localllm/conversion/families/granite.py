"""Granite 3: Llama's layers, with multipliers."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.families.llama import LLAMA
from localllm.conversion.keys import COMMON_KEYS, VOCABULARY_SIZE_KEY, from_config
from localllm.conversion.tables import rotation
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType


def _check(config: ModelConfig) -> None:
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
        VOCABULARY_SIZE_KEY,
        rotation.WHOLE_HEAD_KEY,
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
    check=_check,
)

FAMILIES = (GRANITE,)
