"""How much of the weights is worked on at a time, from what memory there may be for it."""

from __future__ import annotations

from collections.abc import Sequence

from localllm.errors import UsageError
from localllm.quantization.plan import LevelPlan
from localllm.quantization.writing import pieces_in_memory
from localllm.units import format_bytes
from localllm.write_behind import BUFFER_BYTES

_PIECE_WEIGHTS = 1024 * 1024
_LEAST_PIECE_WEIGHTS = 32 * 1024
# what the process holds before the first piece: Python, numpy, llama.cpp, the header of a large vocabulary
_BASE_BYTES = 192 * 1024 * 1024


def piece_weights(plans: Sequence[LevelPlan], threads: int, max_memory_bytes: int | None) -> int:
    """Return how many weights a piece has, so that quantizing takes about `max_memory_bytes`.

    Raise UsageError when even the smallest pieces take more.
    """
    if max_memory_bytes is None:
        return _PIECE_WEIGHTS
    fixed = _BASE_BYTES + BUFFER_BYTES * len(plans)
    per_weight = pieces_in_memory(threads) * _bytes_per_weight(plans)
    weights = int((max_memory_bytes - fixed) / per_weight)
    if weights < _LEAST_PIECE_WEIGHTS:
        least = fixed + int(per_weight * _LEAST_PIECE_WEIGHTS)
        raise UsageError(
            f"{format_bytes(max_memory_bytes)} are too little to quantize in",
            hint=f"{len(plans)} level{'s' * (len(plans) > 1)} with {threads} threads need about "
            f"{format_bytes(least)}; `--threads` makes it less",
        )
    return min(weights, _PIECE_WEIGHTS)


def _bytes_per_weight(plans: Sequence[LevelPlan]) -> float:
    """Return the bytes of a weight as it is read and in every type that it is written in, at most."""
    kinds = {tensor.output.type for plan in plans for tensor in plan.tensors if tensor.is_changed}
    read = max((t.source.type.bits_per_weight for plan in plans for t in plan.tensors), default=0.0)
    return (read + sum(kind.bits_per_weight for kind in kinds)) / 8
