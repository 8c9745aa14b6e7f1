"""GLM-4-0414 and GLM-Z1: a norm around every block; half of each head is rotated."""

from __future__ import annotations

from localllm.conversion.family import Family
from localllm.conversion.keys import COMMON_KEYS, HEAD_SIZE_KEYS
from localllm.conversion.tables import rotation, shapes

GLM4 = Family(
    name="GLM-4",
    architectures=("Glm4ForCausalLM",),
    arch="glm4",
    keys=(*COMMON_KEYS, *HEAD_SIZE_KEYS, rotation.PART_OF_HEAD_KEY),
    defaults={
        "num_key_value_heads": 2,
        "head_dim": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1.5625e-07,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
    },
    check=rotation.refuse_sections,
    shapes=shapes.NORMS_BEFORE
    | shapes.NORMS_AFTER
    | shapes.ATTENTION
    | shapes.OUTPUT_NORM
    | {
        "blk.{layer}.ffn_up.weight": lambda c: (c.hidden, 2 * shapes.inner(c)),
        "blk.{layer}.ffn_down.weight": lambda c: (shapes.inner(c), c.hidden),
    },
    special_tokens={
        "bos": "<|endoftext|>",
        "eos": "<|endoftext|>",
        "unknown": "<|endoftext|>",
        "eot": "<|user|>",
    },
)

FAMILIES = (GLM4,)
