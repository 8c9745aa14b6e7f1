"""The metadata of a quantized file: the source's, with what llama.cpp's quantizer changes."""

from __future__ import annotations

from collections.abc import Sequence

from localllm.errors import UsageError
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import DEFAULT_ALIGNMENT, Key
from localllm.gguf_file.header import ArrayValue
from localllm.gguf_file.writer import HeaderValues, TypedValue, boolean, float32, string, uint32
from localllm.quantization.levels import Level
from localllm.quantization.options import Override

_QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
_SPLIT_KEYS = (Key.SPLIT_NUMBER, Key.SPLIT_COUNT, Key.SPLIT_TENSORS)


def quantized_metadata(
    source: GGUFHeader, level: Level, overrides: Sequence[Override], layers: int | None
) -> HeaderValues:
    """Return the metadata of `source` quantized to `level`, as llama.cpp orders it: what is set comes last.

    `layers` is the number left after pruning, None when nothing was pruned. llama.cpp aligns to 32 bytes
    whatever the source says but copies the key, which would make the file unloadable: it is set right here.
    """
    changes: dict[str, TypedValue] = {
        Key.QUANTIZATION_VERSION: uint32(_QUANTIZATION_VERSION),
        Key.FILE_TYPE: uint32(level.file_type),
    }
    if source.alignment != DEFAULT_ALIGNMENT:
        changes[Key.ALIGNMENT] = uint32(DEFAULT_ALIGNMENT)
    for override in overrides:
        changes.pop(override.key, None)
        changes[override.key] = _value(override)
    if layers is not None:
        changes.pop(block_count := f"{source.architecture}.block_count", None)
        changes[block_count] = uint32(layers)
    kept = {
        key: value for key, value in source.encoded.items() if key not in changes and key not in _SPLIT_KEYS
    }
    return {**kept, **changes}


def refuse_uneven_layers(source: GGUFHeader) -> None:
    """Raise UsageError for a model whose metadata differs by layer: pruning would leave it as it is."""
    layers = source.architecture_integer("block_count")
    for key, value in source.metadata.items():
        is_per_layer = isinstance(value, ArrayValue) and len(value) == layers
        if is_per_layer and key.startswith(f"{source.architecture}."):
            raise UsageError(f"layers of this model cannot be left out: `{key}` differs by layer")


def _value(override: Override) -> TypedValue:
    value = override.value
    if isinstance(value, bool):
        return boolean(value)
    if isinstance(value, int):
        return uint32(value)
    return float32(value) if isinstance(value, float) else string(value)
