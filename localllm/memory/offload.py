"""How many layers of a model go onto the GPUs: from the output backwards, as llama.cpp counts them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localllm.gguf_file import GGUFHeader
from localllm.memory.estimate import GPU_MARGIN_BYTES, Footprint

_LAYER = re.compile(r"blk\.(\d{1,3})\.")
_INPUTS = ("token_embd.", "per_layer_token_embd.", "position_embd.", "token_embd_norm.", "token_types.")
_TOKEN_EMBEDDING = "token_embd.weight"
_OUTPUT = "output.weight"


def layers_that_fit(
    header: GGUFHeader,
    footprint: Footprint,
    free_bytes: Sequence[int],
    context: int,
    *,
    kind: str = "F16",
    weight_bytes: int | None = None,
) -> int:
    """Return how many layers, the output being the last one, fit into the free memory of the GPUs.

    `weight_bytes` is what all files of a split model hold, of which `header` is the first.
    """
    sizes = _sizes(header, footprint, context, kind)
    if weight_bytes is not None and weight_bytes > header.tensor_bytes > 0:
        missing = weight_bytes - header.tensor_bytes
        sizes = [size + missing // len(sizes) for size in sizes]
    room = sum(max(0, free - GPU_MARGIN_BYTES - footprint.buffer_bytes(context)) for free in free_bytes)
    fitting = 0
    for size in reversed(sizes):
        room -= size
        if room < 0:
            break
        fitting += 1
    return fitting


def _sizes(header: GGUFHeader, footprint: Footprint, context: int, kind: str) -> list[int]:
    """Return the bytes of each layer with its cache, and of what comes behind them."""
    sizes = [footprint.layer_cache_bytes(layer, context, kind) for layer in footprint.layers]
    outside: dict[str, int] = {}
    for tensor in header.tensors:
        match = _LAYER.match(tensor.name)
        if match is None:
            outside[tensor.name] = tensor.size_bytes
        elif int(match[1]) < len(sizes):
            sizes[int(match[1])] += tensor.size_bytes
    behind = sum(size for name, size in outside.items() if not name.startswith(_INPUTS))
    if _OUTPUT not in outside:  # the token embedding serves
        behind += outside.get(_TOKEN_EMBEDDING, 0)
    return [*sizes, behind]
