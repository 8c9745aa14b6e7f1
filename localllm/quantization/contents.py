"""What the tensors of a file say about its quantization, whatever its label says."""

from __future__ import annotations

from collections.abc import Iterable

from localllm.gguf_file import GGUFHeader, TensorInfo


def count_types(tensors: Iterable[TensorInfo]) -> dict[str, int]:
    """Count the tensors per storage type, the most common first."""
    counts: dict[str, int] = {}
    for tensor in tensors:
        counts[tensor.type.name] = counts.get(tensor.type.name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def bits_per_weight(header: GGUFHeader) -> float:
    """Return the stored bits per parameter, padding and header excluded."""
    return header.tensor_bytes * 8 / max(1, header.parameters)
