"""Rotation of whole heads in layers with a sliding window, of a part of each head in those without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import ComputedTensor
from localllm.conversion.ops import proportional_rope_factors
from localllm.conversion.tables import windowed_heads
from localllm.errors import CheckpointError, UnsupportedModelError
from localllm.gguf_file.writer import TypedValue

_FULL, _SLIDING = "full_attention", "sliding_attention"
DEFAULTS: dict[str, Any] = {
    "rope_parameters": {
        _FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
        _SLIDING: {"rope_type": "default", "rope_theta": 1e4},
    }
}


def no_scaling(config: ModelConfig) -> Iterator[tuple[str, TypedValue]]:
    """Yield nothing: `factors` says it all."""
    return iter(())


def factors(config: ModelConfig) -> Iterable[ComputedTensor]:
    """Compute the divisors that leave a part of each head unrotated in layers without a window."""
    share = float(config.rope.get("partial_rotary_factor", 1.0))
    values = proportional_rope_factors(windowed_heads.head_size(config, sliding=False), share)
    yield ComputedTensor("rope_freqs.weight", values)


def check(config: ModelConfig) -> None:
    """Layers without a window rotate part of their heads, those with one all of them, unscaled."""
    stated = config.get("rope_parameters")
    full, windowed = (stated.get(kind) for kind in (_FULL, _SLIDING)) if isinstance(stated, dict) else (0, 0)
    if not isinstance(full, dict) or not isinstance(windowed, dict):
        raise CheckpointError(
            "config.json: `rope_parameters` must tell full_attention from sliding_attention",
            hint=windowed_heads.COPY,
        )
    for name in ("rope_theta", "local_theta"):
        if name not in config.rope:
            raise CheckpointError(
                "config.json: `rope_parameters` lacks a rope_theta", hint=windowed_heads.COPY
            )
    kinds = (full.get("rope_type"), windowed.get("rope_type", "default"))
    if kinds != ("proportional", "default") or config.rope.get("factor", 1.0) != 1.0:
        raise UnsupportedModelError(
            f"config.json: rope scaling of types {kinds[0]!r:.20} and {kinds[1]!r:.20} is not supported for "
            "this architecture: it is `proportional`, by no factor, and `default`"
        )
