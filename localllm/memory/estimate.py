"""How many bytes the cache and the buffers of a context take, in closed form.

The cache is what llama.cpp allocates, to the byte: keys and values of every token in each layer (in layers
with a window of the last ones only, as llama.cpp's own programs ask for), and the states of recurrent layers.

The buffers are the larger of two moments, of 512 tokens computed at once: all logits with the last layer's
output, and one layer's inner activations with the attention masks. Held against what llama.cpp 0.3.36
reports (`compute buffer size`, flash attention on, one sequence) for eleven architectures of 0.1 to 47
billion weights at 512 to 131072 tokens, this is at most 6 % off; `scripts/check_memory.py` does it again.
Where layers have inputs of their own or heads of two sizes, it is at most 11 % off: llama.cpp's buffers have
gaps then, and the masks are still there while logits are computed.
"""

from __future__ import annotations

from dataclasses import dataclass

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, Key
from localllm.memory.layers import LayerMemory, layers_of
from localllm.memory.numbers import layer_count, per_layer, whole

DEFAULT_CONTEXT = 4096
CACHE_TYPES = ("F16", "Q8_0")  # what a cache is usually kept in; F16 is llama.cpp's own choice
# beside the estimate: the estimate's own error, and what else wants memory
MEMORY_SHARE = 0.9
GPU_MARGIN_BYTES = 512 * 1024 * 1024
_BATCH_TOKENS = 512  # llama.cpp computes so many at once
_CELLS = 256  # a cache is a multiple of so many tokens
_FLOAT_BYTES = 4
_MASK_BYTES = 2
_TOKEN_EMBEDDING = "token_embd.weight"


@dataclass(frozen=True)
class Footprint:
    """What a model takes beside its weights.

    `layers` are what its layers keep, `rows` the tokens it tells apart, `width` the numbers passed from
    layer to layer, `inner` those inside of one, of the experts used together. `inputs` are those that a layer
    gets by itself, `queries` those of latent attention in all heads together.
    """

    layers: tuple[LayerMemory, ...]
    rows: int
    width: int
    inner: int
    inputs: int = 0
    queries: int = 0

    def cache_bytes(self, context: int, kind: str = "F16") -> int:
        """Return the bytes of the cache for `context` tokens, in a type of CACHE_TYPES."""
        return sum(self.layer_cache_bytes(layer, context, kind) for layer in self.layers)

    def layer_cache_bytes(self, layer: LayerMemory, context: int, kind: str = "F16") -> int:
        """Return the bytes one of the layers keeps."""
        stored = TENSOR_TYPES_BY_NAME[kind]
        numbers = (layer.keys + layer.values) * _cells(context, layer.window)
        return numbers * stored.block_bytes // stored.block_size + layer.state_bytes

    def buffer_bytes(self, context: int) -> int:
        """Return about what llama.cpp computes in."""
        tokens = min(context, _BATCH_TOKENS)
        windows = {layer.window for layer in self.layers if layer.keys}
        masks = sum(_cells(context, window) for window in windows)
        logits = _FLOAT_BYTES * (self.rows + 2 * self.width) + (_MASK_BYTES * masks if self.inputs else 0)
        inner = max(3 * self.inner, self.queries)
        layer = _FLOAT_BYTES * (inner + 4 * self.width) + _MASK_BYTES * masks
        return tokens * max(logits, layer)

    def running_bytes(self, weight_bytes: int, context: int, kind: str = "F16") -> int:
        """Return about what a model of `weight_bytes` takes while it answers."""
        return weight_bytes + self.cache_bytes(context, kind) + self.buffer_bytes(context)


def footprint_of(header: GGUFHeader) -> Footprint | None:
    """Return the footprint of a model; None when the header does not tell what its layers keep."""
    layers = layers_of(header)
    if layers is None:
        return None
    inputs = whole(header, "embedding_length_per_layer_input")
    return Footprint(layers, _rows(header), _width(header), _inner(header), inputs, _queries(header))


def context_of(header: GGUFHeader, wanted: int | None = None) -> int:
    """Return the context to estimate for: `wanted`, else 4096 tokens or what the model was trained for."""
    trained = header.architecture_integer("context_length")
    return wanted or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def cache_bytes(header: GGUFHeader, context: int, kind: str = "F16") -> int | None:
    """Return the bytes of the cache for `context` tokens; None when the header does not tell."""
    footprint = footprint_of(header)
    return None if footprint is None else footprint.cache_bytes(context, kind)


def running_bytes(header: GGUFHeader, weight_bytes: int, context: int) -> int:
    """Return about what a model of `weight_bytes` takes while it answers with `context` tokens of memory."""
    footprint = footprint_of(header) or Footprint((), _rows(header), _width(header), _inner(header))
    return footprint.running_bytes(weight_bytes, context)


def _cells(context: int, window: int | None) -> int:
    """Return how many tokens a layer has room for: its window and a batch, whole blocks of 256."""
    whole = context + -context % _CELLS
    if window is None:
        return whole
    needed = min(whole, window + min(context, _BATCH_TOKENS))
    return needed + -needed % _CELLS


def _width(header: GGUFHeader) -> int:
    return whole(header, "embedding_length")


def _rows(header: GGUFHeader) -> int:
    embedding = next((tensor for tensor in header.tensors if tensor.name == _TOKEN_EMBEDDING), None)
    if embedding is not None and len(embedding.shape) > 1:
        return embedding.shape[1]
    tokens = header.array(Key.TOKENS)
    return len(tokens) if tokens is not None else whole(header, "vocab_size")


def _inner(header: GGUFHeader) -> int:
    """Return the widest inner activation: a layer's own, or that of all experts that work on a token."""
    layers = layer_count(header) or 1
    dense = max(per_layer(header, "feed_forward_length", layers) or [0])
    used = max(per_layer(header, "expert_used_count", layers) or [0])
    if not used:
        return dense or 4 * _width(header)
    expert = max(per_layer(header, "expert_feed_forward_length", layers) or [0])
    shared = whole(header, "expert_shared_feed_forward_length")
    return max(dense, used * expert + shared) if expert else used * dense


def _queries(header: GGUFHeader) -> int:
    """Return the numbers of latent attention: queries, what compressed keys take of them, what they see."""
    query = whole(header, "attention.key_length_mla")
    if not query:
        return 0
    compressed = whole(header, "attention.key_length") + whole(header, "attention.value_length")
    plain = query - min(query, whole(header, "rope.dimension_count"))
    heads = max(per_layer(header, "attention.head_count", layer_count(header) or 1) or [0])
    return heads * (query + plain + compressed)
