"""Ministral 3 and Mistral Small 3.1 and 3.2, the language models alone: Llama's layers.

Ministral 3 stretches rotation by YaRN and sharpens queries by the logarithm of their position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.families.mistral import MISTRAL
from localllm.conversion.keys import ModelKey, rope_scaling
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import TypedValue, float32


def _scaling(config: ModelConfig) -> Iterator[tuple[str, TypedValue]]:
    yield from rope_scaling(config)
    multiplier = config.rope.get("mscale_all_dim")
    if config.rope.get("rope_type") == "yarn" and multiplier is not None:
        yield "rope.scaling.yarn_log_multiplier", float32(multiplier)


def _check(config: ModelConfig) -> None:
    if config.get("model_type") == "mistral4":
        raise UnsupportedModelError("Mistral 4 is another architecture, which is not supported")
    scale = config.rope.get("mscale")
    if scale not in (None, 1):
        raise UnsupportedModelError(f"config.json: mscale is {scale}, but llama.cpp would take 1")


MISTRAL3 = replace(
    MISTRAL,
    name="Ministral 3",
    architectures=("Ministral3ForCausalLM", "Mistral3ForConditionalGeneration"),
    arch="mistral3",
    keys=(
        *MISTRAL.keys,
        ModelKey(
            "attention.temperature_scale", ValueType.FLOAT32, lambda c: c.rope.get("llama_4_scaling_beta")
        ),
    ),
    defaults=MISTRAL.defaults | {"vocab_size": 131072, "head_dim": 128, "rms_norm_eps": 1e-5},
    scaling=_scaling,
    check=_check,
)

FAMILIES = (MISTRAL3,)
