"""Estimates what running a model takes beside its weights: the attention cache and llama.cpp's buffers.

Estimates from the header alone. Sliding windows and recurrent layers need less than is said here.
"""

from __future__ import annotations

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key

DEFAULT_CONTEXT = 4096
_CACHE_BYTES = 2  # f16
_BATCH_TOKENS = 512  # llama.cpp computes so many at once


def context_of(header: GGUFHeader, wanted: int | None = None) -> int:
    """Return the context to estimate for: `wanted`, else 4096 tokens or what the model was trained for."""
    trained = header.architecture_integer("context_length")
    return wanted or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def cache_bytes(header: GGUFHeader, context: int) -> int | None:
    """Return the f16 attention cache: context x 2 bytes x (key + value length) x the kv heads of all layers.

    None when the header does not tell.
    """
    layers = header.architecture_integer("block_count")
    heads = header.architecture_integer("attention.head_count")
    width = header.architecture_integer("embedding_length")
    if not layers or not heads or not width:
        return None
    key = header.architecture_integer("attention.key_length") or width // heads
    value = header.architecture_integer("attention.value_length") or width // heads
    return context * _CACHE_BYTES * (key + value) * _kv_heads(header, layers, heads)


def buffer_bytes(header: GGUFHeader) -> int:
    """Return about what llama.cpp computes in: the logits and the widest activations of one batch."""
    tokens = header.array(Key.TOKENS)
    vocabulary = len(tokens) if tokens is not None else 0
    width = header.architecture_integer("embedding_length") or 0
    inner = header.architecture_integer("feed_forward_length") or 4 * width
    return 4 * _BATCH_TOKENS * (vocabulary + 2 * inner + 4 * width)


def running_bytes(header: GGUFHeader, weight_bytes: int, context: int) -> int:
    """Return about what a model of `weight_bytes` takes while it answers with `context` tokens of memory."""
    return weight_bytes + (cache_bytes(header, context) or 0) + buffer_bytes(header)


def _kv_heads(header: GGUFHeader, layers: int, heads: int) -> int:
    """Return the number of key-value heads of all layers together."""
    per_layer = header.array(f"{header.architecture}.attention.head_count_kv")
    if per_layer is not None:
        return sum(int(value) for value in per_layer.decode())
    return layers * (header.architecture_integer("attention.head_count_kv") or heads)
