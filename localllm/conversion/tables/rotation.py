"""Rotary embeddings: which rows are rotated together, how much of a head, and by which factors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import ComputedTensor
from localllm.conversion.keys import ModelKey
from localllm.conversion.ops import PERMUTE_KEY, PERMUTE_QUERY, Op, llama3_rope_factors
from localllm.errors import CheckpointError, UnsupportedModelError
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import TypedValue, float32

# the runtime rotates adjacent pairs, checkpoints hold split halves: query and key rows are permuted
ADJACENT_PAIRS: Mapping[str, Op] = {
    "q_proj.weight": PERMUTE_QUERY,
    "q_proj.bias": PERMUTE_QUERY,
    "k_proj.weight": PERMUTE_KEY,
    "k_proj.bias": PERMUTE_KEY,
}
WHOLE_HEAD_KEY = ModelKey("rope.dimension_count", ValueType.UINT32, lambda c: c.head_size)
ROTARY_SIZE_KEY = ModelKey("rope.dimension_count", ValueType.UINT32, lambda c: c.rotary_size)
PART_OF_HEAD_KEY = ModelKey(
    "rope.dimension_count", ValueType.UINT32, lambda c: int(c.head_size * c.rope["partial_rotary_factor"])
)
LOCAL_THETA_KEY = ModelKey("rope.freq_base_swa", ValueType.FLOAT32, lambda c: c.rope.get("local_theta"))


def refuse_sections(config: ModelConfig) -> None:
    """Refuse rotation in sections, which needs another order of rows where pairs are adjacent."""
    if "mrope_section" in config.rope:
        raise UnsupportedModelError("rotation in sections (GLM-4V) is not supported for GLM-4")


def llama3_factors(config: ModelConfig) -> Iterable[ComputedTensor]:
    """Compute the divisors of Llama 3.1's scaling where config.json asks for it."""
    if config.rope.get("rope_type") == "llama3":
        yield ComputedTensor("rope_freqs.weight", llama3_rope_factors(config))


def original_context(config: ModelConfig) -> int:
    """Return the context that a model was trained on before it was stretched."""
    return int(config.rope["original_max_position_embeddings"])


def _is_long(config: ModelConfig) -> bool:
    return bool(config.rope.get("long_factor"))


def long_scaling(config: ModelConfig) -> Iterator[tuple[str, TypedValue]]:
    """Yield how much longer contexts sharpen attention (transformers `_compute_longrope_parameters`)."""
    if not _is_long(config):
        return
    scale = config.integer("max_position_embeddings") / original_context(config)
    factor = math.sqrt(1 + math.log(scale) / math.log(original_context(config))) if scale > 1 else 1.0
    yield "rope.scaling.attn_factor", float32(factor)


def long_factors(config: ModelConfig) -> Iterable[ComputedTensor]:
    """Compute the divisors of every frequency, for contexts up to the original one and for longer ones."""
    if not _is_long(config):
        return
    for kind in ("long", "short"):
        values = np.asarray(config.rope.get(f"{kind}_factor") or (), dtype=np.float32)
        if values.shape != (config.rotary_size // 2,):
            raise CheckpointError(
                f"config.json: {kind}_factor has {values.size} values, not {config.rotary_size // 2}"
            )
        yield ComputedTensor(f"rope_factors_{kind}.weight", values)


def check_long(config: ModelConfig) -> None:
    """Refuse scaling of another kind than by a list of factors."""
    kind = str(config.rope.get("rope_type", "default"))
    if kind not in ("default", "su", "longrope") or (_is_long(config) and kind == "default"):
        raise UnsupportedModelError(f"rope scaling of type `{kind}` is not supported for Phi-3")
