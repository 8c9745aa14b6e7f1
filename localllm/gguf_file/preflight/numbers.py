"""Numbers under `{architecture}.` as llama.cpp reads them."""

from __future__ import annotations

from collections.abc import Iterator

from localllm.gguf_file.format import ValueType
from localllm.gguf_file.header import ArrayValue, GGUFHeader

MAX_LAYERS = 512  # LLAMA_MAX_LAYERS
MAX_SIZE = 2**31 - 1


def number(header: GGUFHeader, suffix: str) -> float | None:
    return header.number(f"{header.architecture}.{suffix}")


def by_layer(header: GGUFHeader, suffix: str) -> Iterator[int]:
    """Yield a value that may differ per layer, once for all or for each, as llama.cpp's unsigned number."""
    per_layer = header.array(f"{header.architecture}.{suffix}")
    if per_layer is not None:
        yield from numbers(per_layer)
        return
    single = header.architecture_integer(suffix)
    if single is not None:
        yield single


def numbers(values: ArrayValue) -> list[int]:
    """Return the integers of a list that is no longer than one for each layer can be."""
    if values.item_type is ValueType.STRING or len(values) > MAX_LAYERS:
        return []
    return [int(value) % 2**32 for value in values.decode() if isinstance(value, int)]


def stretched(values: list[int], other: list[int]) -> list[int]:
    """Return a value for each of `other` where there is but one for all."""
    return values * len(other) if len(values) == 1 else values
