"""What the tensors of a file say about its quantization, whatever its label says."""

from __future__ import annotations

from collections.abc import Iterable

from localllm.gguf_file import GGUFHeader, TensorInfo
from localllm.gguf_file.format import FILE_TYPES, Key
from localllm.quantization.levels import LEVELS


def count_types(tensors: Iterable[TensorInfo]) -> dict[str, int]:
    """Count the tensors per storage type, the most common first."""
    counts: dict[str, int] = {}
    for tensor in tensors:
        counts[tensor.type.name] = counts.get(tensor.type.name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def count_misfits(header: GGUFHeader) -> int:
    """Count the matrices whose rows do not fit the block of the file's level, so another type holds them."""
    level = LEVELS.get(FILE_TYPES.get(header.integer(Key.FILE_TYPE) or 0, ""))
    if level is None or not level.is_quantized:
        return 0
    matrices = (t for t in header.tensors if len(t.shape) > 1 and t.type.name != "F32")
    return sum(1 for tensor in matrices if tensor.shape[0] % level.base_type.block_size)


def bits_per_weight(header: GGUFHeader) -> float:
    """Return the stored bits per parameter, padding and header excluded."""
    return header.tensor_bytes * 8 / max(1, header.parameters)
