"""Whether the numbers of attention fit one another: heads, what of them is rotated, sliding windows."""

from __future__ import annotations

import math

from localllm.gguf_file.header import ArrayValue, GGUFHeader
from localllm.gguf_file.preflight.architectures import (
    EQUAL_HEADS,
    ROTATE_IN_SECTIONS,
    ROTATE_WHOLE_HEADS,
    SHARE_KEYS,
    WITHOUT_ROPE,
)
from localllm.gguf_file.preflight.numbers import MAX_SIZE, by_layer, number, numbers, stretched

_MAY_NOT_ROTATE = ("granitehybrid",)  # knows models without positions
_LARGEST_WINDOW = 2**27
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")


def attention_problem(header: GGUFHeader) -> str | None:
    """Return what is wrong with the numbers of attention."""
    return _heads(header) or _rotation(header) or _scaling(header) or _window(header) or _sharing(header)


def _heads(header: GGUFHeader) -> str | None:
    heads = list(by_layer(header, "attention.head_count"))
    kv_heads = list(by_layer(header, "attention.head_count_kv")) or heads
    needs_heads = header.architecture in EQUAL_HEADS and header.tensors
    if needs_heads and not any(heads):
        return "it claims to have no attention heads"
    if needs_heads and not any(kv_heads):
        return "it claims to have no attention heads for keys and values"
    for all_heads, shared in zip(stretched(heads, kv_heads), stretched(kv_heads, heads), strict=False):
        if shared and all_heads % shared:
            return f"it claims {all_heads} attention heads that share {shared} for keys and values"
    if heads and heads[0]:
        return _head_sizes(header, heads[0])
    return None


def _head_sizes(header: GGUFHeader, heads: int) -> str | None:
    key, value = _head_size(header, "key", heads), _head_size(header, "value", heads)
    for name, size in (("keys", key), ("values", value)):
        if not 1 <= size <= MAX_SIZE:
            return f"it claims heads of {size} numbers for {name}"
    if header.architecture in EQUAL_HEADS and key != value:
        return f"it claims heads of {key} numbers for keys and {value} for values"
    return None


def _head_size(header: GGUFHeader, name: str, heads: int) -> int:
    stated = header.architecture_integer(f"attention.{name}_length")
    return (header.architecture_integer("embedding_length") or 0) // heads if stated is None else stated


def _rotation(header: GGUFHeader) -> str | None:
    """Rotated are pairs of numbers, of which a head must have enough; llama.cpp never ends rotating none."""
    heads = next(by_layer(header, "attention.head_count"), 0)
    if not heads or header.architecture in WITHOUT_ROPE:
        return None
    size = _head_size(header, "key", heads)
    stated = header.architecture_integer("rope.dimension_count")
    rotated = size if stated is None else stated
    least = 0 if header.architecture in _MAY_NOT_ROTATE else 1
    if rotated % 2 or not least <= rotated <= size:
        return f"it claims to rotate {rotated} of the {size} numbers of a head"
    if rotated != size and header.architecture in ROTATE_WHOLE_HEADS:
        return f"it claims to rotate {rotated} of the {size} numbers of a head, not all"
    return _rotation_in_windows(header, size, rotated) or _sections(header)


def _rotation_in_windows(header: GGUFHeader, size: int, rotated: int) -> str | None:
    """Layers with a sliding window may have heads of another size."""
    own_size = header.architecture_integer("attention.key_length_swa")
    own = header.architecture_integer("rope.dimension_count_swa")
    if own_size is None and own is None:
        return None
    size, rotated = size if own_size is None else own_size, rotated if own is None else own
    if own != 0 and rotated % 2 == 0 and rotated <= size:
        return None
    return f"it claims to rotate {rotated} of the {size} numbers of a head in sliding windows"


def _sections(header: GGUFHeader) -> str | None:
    if header.architecture not in ROTATE_IN_SECTIONS or not header.tensors:
        return None
    sections = header.array(f"{header.architecture}.rope.dimension_sections")
    if sections is None or not any(numbers(sections)[:3]):
        return "it does not say in which sections it rotates (`rope.dimension_sections`)"
    return None


def _scaling(header: GGUFHeader) -> str | None:
    scaling = header.metadata.get(f"{header.architecture}.rope.scaling.type")
    if scaling is not None and scaling not in _ROPE_SCALINGS:
        return f"it asks for unknown rope scaling {str(scaling)[:40]!r}"
    base = number(header, "rope.freq_base")
    if base is not None and not (math.isfinite(base) and base >= 0):
        return f"`rope.freq_base` is {base}"
    factor = number(header, "rope.scaling.factor")
    if factor is not None and not (math.isfinite(factor) and factor >= 0):
        return f"`rope.scaling.factor` is {factor}"
    return None


def _window(header: GGUFHeader) -> str | None:
    """A pattern of layers with a sliding window, one flag for each or a period, has to have one in it.

    llama.cpp reserves memory for a window of any size, whatever the context.
    """
    size = header.architecture_integer("attention.sliding_window") or 0
    if not 0 <= size <= _LARGEST_WINDOW:
        return f"it claims a sliding window of {size} tokens"
    pattern = header.metadata.get(f"{header.architecture}.attention.sliding_window_pattern")
    if isinstance(pattern, ArrayValue):
        is_empty = not any(numbers(pattern))
    else:
        is_empty = pattern == 1 and not isinstance(pattern, bool)
    return "it has a sliding window for none of its layers" if is_empty else None


def _sharing(header: GGUFHeader) -> str | None:
    """A layer without keys of its own takes those of the last two that have some: one of either kind."""
    if header.architecture not in SHARE_KEYS or not header.tensors:
        return None
    layers = header.architecture_integer("block_count") or 0
    shared = header.architecture_integer("attention.shared_kv_layers") or 0
    own = layers - shared
    if not 2 <= own <= layers:
        return f"it claims that {shared} of {layers} layers use the keys of others, which two must have"
    windows = [*by_layer(header, "attention.sliding_window_pattern"), *[0] * layers]
    for window, back in ((True, 2), (False, 1)):
        wanted = any(bool(flag) is window for flag in windows[own:layers])
        if wanted and bool(windows[own - back]) is not window:
            kind = "with" if window else "without"
            return f"its layers {kind} a sliding window have no keys to share"
    return None
