"""OLMo 2 and 3: norms behind the blocks, queries and keys normalised over their full width."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, GIVEN_HEAD_SIZE_KEYS, ModelKey, from_config
from localllm.conversion.tables import shapes
from localllm.gguf_file.format import ValueType

OLMO2 = Family(
    name="OLMo 2",
    architectures=("Olmo2ForCausalLM",),
    arch="olmo2",
    keys=(*COMMON_KEYS, *GIVEN_HEAD_SIZE_KEYS),
    defaults={"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0},
    output_optional=False,
    shapes=shapes.NORMS_AFTER
    | shapes.ATTENTION
    | shapes.FULL_NORMS
    | shapes.GATED_FEED_FORWARD
    | shapes.OUTPUT_NORM,
)


def _sliding(config: ModelConfig) -> list[bool]:
    """Tell for each layer whether its window slides; by default all but every fourth."""
    types = config.layer_types(
        ["full_attention" if layer % 4 == 3 else "sliding_attention" for layer in range(config.layers)]
    )
    return [kind == "sliding_attention" for kind in types]


# rotation is scaled in the layers without a window alone, as llama.cpp does by itself
OLMO3 = replace(
    OLMO2,
    name="OLMo 3",
    architectures=("Olmo3ForCausalLM",),
    keys=(
        *OLMO2.keys,
        ModelKey("rope.freq_base_swa", ValueType.FLOAT32, lambda c: c.rope.get("local_theta")),
        from_config("attention.sliding_window", ValueType.UINT32, "sliding_window", required=True),
        ModelKey("attention.sliding_window_pattern", ValueType.BOOL, _sliding),
    ),
    defaults=OLMO2.defaults | {"sliding_window": 4096},
)

FAMILIES = (OLMO2, OLMO3)
