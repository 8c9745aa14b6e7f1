"""Qwen3.5: gated delta nets, gated attention in every fourth layer.

Checkpoints keep the value heads of one key head together; the runtime repeats all key heads in turn.
"""

from __future__ import annotations

from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, HEAD_SIZE_KEYS, SECTIONS_KEY, sectioned_rope
from localllm.conversion.tables import delta_net, rotation, shapes

QWEN35 = Family(
    name="Qwen3.5",
    architectures=("Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"),
    arch="qwen35",
    keys=(*COMMON_KEYS, *HEAD_SIZE_KEYS, *delta_net.KEYS, SECTIONS_KEY, rotation.PART_OF_HEAD_KEY),
    defaults=delta_net.DEFAULTS
    | {
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "mrope_section": [11, 11, 10],
    },
    ops={**delta_net.OPS, **delta_net.TILED},
    splits=delta_net.SPLITS,
    scaling=sectioned_rope,
    check=delta_net.check,
    predicts_ahead=True,
    kinds=delta_net.kinds,
    shapes=delta_net.SHAPES | shapes.GATED_FEED_FORWARD | shapes.OUTPUT_NORM,
)

FAMILIES = (QWEN35,)
