"""SmolLM3: Llama's layers, every fourth without positions."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.families.llama import LLAMA
from localllm.conversion.families.mistral import MISTRAL
from localllm.errors import UnsupportedModelError


def _check(config: ModelConfig) -> None:
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
    keys=MISTRAL.keys,
    defaults=LLAMA.defaults | {"num_key_value_heads": 4, "max_position_embeddings": 32768, "rope_theta": 2e6},
    check=_check,
)

FAMILIES = (SMOLLM3,)
