"""OLMo 2: norms behind the blocks, queries and keys normalised over their full width."""

from __future__ import annotations

from localllm.conversion.families import shapes
from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, GIVEN_HEAD_SIZE_KEYS

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

FAMILIES = (OLMO2,)
