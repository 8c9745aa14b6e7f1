"""Whether the tensors are those of the layers and the vocabulary that the metadata describes.

llama.cpp has its own checks and reports what it misses; these name the most common damage in plain words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from localllm.gguf_file.format import Key
from localllm.gguf_file.header import GGUFHeader, TensorInfo
from localllm.gguf_file.preflight.architectures import UNIFORM
from localllm.gguf_file.window import shown

_LAYER = re.compile(r"blk\.(\d{1,4})\.(.+)")
_EMBEDDINGS = "token_embd.weight"
_PER_LAYER = ("feed_forward_length", "attention.head_count", "attention.head_count_kv")

Shapes = dict[str, tuple[int, ...]]


def layers_problem(header: GGUFHeader, tensors: Sequence[TensorInfo]) -> str | None:
    """Return what is missing in, or too much among, all the `tensors` of a model."""
    count = header.architecture_integer("block_count")
    if not tensors or count is None or header.architecture not in UNIFORM:
        return None
    layers = _by_layer(tensors)
    for number in layers:
        if number >= count:
            return f"it has tensors of layer {number + 1} but claims {count} layers"
    for number in range(count):
        if number not in layers:
            return f"it has no tensors of layer {number + 1} of {count}"
    shapes = {tensor.name: _without_ones(tensor.shape) for tensor in tensors}
    return _embeddings(header, shapes) or _uniform(header, layers) or _attention(header, layers[0])


def _by_layer(tensors: Sequence[TensorInfo]) -> dict[int, Shapes]:
    found: dict[int, Shapes] = {}
    for tensor in tensors:
        match = _LAYER.fullmatch(tensor.name)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = _without_ones(tensor.shape)
    return found


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the trailing ones, which mean nothing."""
    end = len(shape)
    while end > 1 and shape[end - 1] == 1:
        end -= 1
    return shape[:end]


def _embeddings(header: GGUFHeader, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    shape = shapes.get(_EMBEDDINGS)
    if shape is None:
        return f"it has no tensor `{_EMBEDDINGS}`"
    width = header.architecture_integer("embedding_length")
    if shape[0] != width:
        return f"its embeddings are {shape[0]} wide instead of {width}"
    tokens = header.array(Key.TOKENS)
    rows = shape[1] if len(shape) > 1 else 1
    if tokens is not None and rows != len(tokens):
        return f"it has embeddings for {rows} tokens but a vocabulary of {len(tokens)}"
    if "output_norm.weight" not in shapes:
        return "it has no tensor `output_norm.weight`"
    return None


def _uniform(header: GGUFHeader, layers: Mapping[int, Shapes]) -> str | None:
    """Compare every layer with the first, where all are alike."""
    varies = any(header.array(f"{header.architecture}.{suffix}") for suffix in _PER_LAYER)
    if varies:
        return None
    first = layers[0]
    for number, layer in sorted(layers.items()):
        for name in sorted(first.keys() ^ layer.keys()):
            lacking = number + 1 if name in first else 1
            return f"layer {lacking} lacks a tensor `{shown(name)}`, which layer {number + 2 - lacking} has"
        for name, shape in layer.items():
            if shape != first[name]:
                return (
                    f"tensor `{shown(name)}` of layer {number + 1} has the shape {shape}, not {first[name]}"
                )
    return None


def _attention(header: GGUFHeader, layer: Shapes) -> str | None:
    """Compare the matrices of the first layer with the numbers and sizes of the heads."""
    width, heads, shared, key, value = (
        header.architecture_integer(suffix)
        for suffix in (
            "embedding_length",
            "attention.head_count",
            "attention.head_count_kv",
            "attention.key_length",
            "attention.value_length",
        )
    )
    if width is None or not heads:
        return None
    shared = heads if shared is None else shared
    key, value = key or width // heads, value or width // heads
    wanted = {"attn_q": heads * key, "attn_k": shared * key, "attn_v": shared * value}
    for name, rows in wanted.items():
        shape = layer.get(f"{name}.weight")
        if shape is not None and shape != _without_ones((width, rows)):
            return f"tensor `{name}.weight` has the shape {shape} instead of {(width, rows)}"
    return None
