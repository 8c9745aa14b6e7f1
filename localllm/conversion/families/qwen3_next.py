"""Qwen3-Next: gated delta nets, gated attention in every fourth layer, experts beside a shared one.

Checkpoints hold what a delta net projects key head by key head, values in the runtime's order.
"""

from __future__ import annotations

from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, HEAD_SIZE_KEYS
from localllm.conversion.tables import delta_net, experts, rotation, shapes

QWEN3_NEXT = Family(
    name="Qwen3-Next",
    architectures=("Qwen3NextForCausalLM",),
    arch="qwen3next",
    keys=(
        *COMMON_KEYS,
        *HEAD_SIZE_KEYS,
        *delta_net.KEYS,
        rotation.PART_OF_HEAD_KEY,
        *experts.mixture_keys(),
        experts.SHARED_WIDTH_KEY,
    ),
    defaults=delta_net.DEFAULTS
    | {
        "num_key_value_heads": 2,
        "intermediate_size": 5632,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "num_experts": 512,
        "num_experts_per_tok": 10,
        "moe_intermediate_size": 512,
        experts.SHARED_WIDTH: 512,
    },
    views=delta_net.BY_KEY_HEAD,
    ops=delta_net.OPS,
    splits={**delta_net.SPLITS, **experts.FUSED},
    check=delta_net.check,
    predicts_ahead=True,
    kinds=delta_net.kinds,
    shapes=delta_net.JOINED_SHAPES | experts.GATED_SHAPES | shapes.OUTPUT_NORM,
)

FAMILIES = (QWEN3_NEXT,)
