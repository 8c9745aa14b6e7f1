"""The language models of Qwen2-VL, 2.5-VL and 3-VL: those of Qwen2 and 3 with positions in sections.

In a text all sections of a position are equal. What sees images is another file and is left out.
"""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.families.qwen2 import QWEN2
from localllm.conversion.families.qwen3 import QWEN3
from localllm.conversion.keys import SECTIONS_KEY, ModelKey, sectioned_rope
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType


def _deepstack_layers(config: ModelConfig) -> int:
    """Return how many layers take features of images besides those that stand in the text."""
    vision = config.get("vision_config")
    layers = vision.get("deepstack_visual_indexes") if isinstance(vision, dict) else None
    return len(layers) if isinstance(layers, list) else 0


def _check(config: ModelConfig) -> None:
    """The runtime dies of a last layer that takes features of images."""
    if _deepstack_layers(config) >= config.layers:
        raise UnsupportedModelError(
            f"config.json: {_deepstack_layers(config)} of {config.layers} layers take features of images"
        )


QWEN2_VL = replace(
    QWEN2,
    name="Qwen2.5-VL",
    architectures=("Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"),
    arch="qwen2vl",
    keys=(*QWEN2.keys, SECTIONS_KEY),
    defaults=QWEN2.defaults | {"num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 1e6},
    scaling=sectioned_rope,
)

QWEN3_VL = replace(
    QWEN3,
    name="Qwen3-VL",
    architectures=("Qwen3VLForConditionalGeneration",),
    arch="qwen3vl",
    keys=(*QWEN3.keys, SECTIONS_KEY, ModelKey("n_deepstack_layers", ValueType.UINT32, _deepstack_layers)),
    defaults=QWEN3.defaults | {"max_position_embeddings": 128000, "rope_theta": 5e6},
    scaling=sectioned_rope,
    check=_check,
)

FAMILIES = (QWEN2_VL, QWEN3_VL)
