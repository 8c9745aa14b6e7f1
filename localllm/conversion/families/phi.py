"""Phi-3, 3.5 and 4: fused projections that stay fused, and rotary factors for long contexts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from localllm.conversion.config import ModelConfig
from localllm.conversion.families import shapes
from localllm.conversion.family import ComputedTensor, Family
from localllm.conversion.keys import COMMON_KEYS, ModelKey
from localllm.errors import CheckpointError, UnsupportedModelError
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import TypedValue, float32


def _original_context(config: ModelConfig) -> int:
    return int(config.rope["original_max_position_embeddings"])


def _is_long(config: ModelConfig) -> bool:
    return bool(config.rope.get("long_factor"))


def _scaling(config: ModelConfig) -> Iterator[tuple[str, TypedValue]]:
    """Yield how much longer contexts sharpen attention (transformers `_compute_longrope_parameters`)."""
    if not _is_long(config):
        return
    scale = config.integer("max_position_embeddings") / _original_context(config)
    factor = math.sqrt(1 + math.log(scale) / math.log(_original_context(config))) if scale > 1 else 1.0
    yield "rope.scaling.attn_factor", float32(factor)


def _rope_factors(config: ModelConfig) -> Iterable[ComputedTensor]:
    if not _is_long(config):
        return
    for kind in ("long", "short"):
        values = np.asarray(config.rope.get(f"{kind}_factor") or (), dtype=np.float32)
        if values.shape != (config.rotary_size // 2,):
            raise CheckpointError(
                f"config.json: {kind}_factor has {values.size} values, not {config.rotary_size // 2}"
            )
        yield ComputedTensor(f"rope_factors_{kind}.weight", values)


def _check(config: ModelConfig) -> None:
    kind = str(config.rope.get("rope_type", "default"))
    if kind not in ("default", "su", "longrope") or (_is_long(config) and kind == "default"):
        raise UnsupportedModelError(f"rope scaling of type `{kind}` is not supported for Phi-3")


PHI3 = Family(
    name="Phi-3",
    architectures=("Phi3ForCausalLM",),
    arch="phi3",
    keys=(
        *COMMON_KEYS,
        ModelKey("rope.scaling.original_context_length", ValueType.UINT32, _original_context),
        ModelKey("rope.dimension_count", ValueType.UINT32, lambda c: c.rotary_size),
        # zero tells the runtime that it is Phi-4
        ModelKey("attention.sliding_window", ValueType.UINT32, lambda c: c.get("sliding_window") or 0),
    ),
    defaults={
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    },
    scaling=_scaling,
    check=_check,
    computed=_rope_factors,
    shapes=shapes.NORMS_BEFORE
    | shapes.FUSED_ATTENTION
    | shapes.OUTPUT_NORM
    | {
        "blk.{layer}.ffn_up.weight": lambda c: (c.hidden, 2 * shapes.inner(c)),
        "blk.{layer}.ffn_down.weight": lambda c: (shapes.inner(c), c.hidden),
    },
)

FAMILIES = (PHI3,)
