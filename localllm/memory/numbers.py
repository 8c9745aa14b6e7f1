"""Hyperparameters that a header gives once for all layers or one by one, read with a bound."""

from __future__ import annotations

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import ValueType

MAX_LAYERS = 512  # LLAMA_MAX_LAYERS
_NO_WHOLE_NUMBERS = (ValueType.STRING, ValueType.FLOAT32, ValueType.FLOAT64)


def layer_count(header: GGUFHeader) -> int | None:
    """Return the number of layers; None when there is none or llama.cpp would refuse it."""
    count = whole(header, "block_count")
    return count if 0 < count <= MAX_LAYERS else None


def whole(header: GGUFHeader, suffix: str) -> int:
    """Return the number under `{architecture}.{suffix}`, 0 when it is missing, none or negative."""
    return max(0, header.architecture_integer(suffix) or 0)


def per_layer(header: GGUFHeader, suffix: str, layers: int) -> list[int] | None:
    """Return `{architecture}.{suffix}` for each of `layers` layers; None when it is missing or no number.

    An array that is too short goes on with 0, as do numbers below that.
    """
    if header.architecture_integer(suffix) is not None:
        return [whole(header, suffix)] * layers
    values = header.array(f"{header.architecture}.{suffix}")
    if values is None or len(values) > MAX_LAYERS or values.item_type in _NO_WHOLE_NUMBERS:
        return None
    found = [max(0, int(value)) for value in values.decode()][:layers]
    return found + [0] * (layers - len(found))
