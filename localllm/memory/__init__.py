"""Estimates what running a model takes beside its weights: the cache of its layers and llama.cpp's buffers.

From the header alone. `estimate` does the arithmetic and says how far it is from what llama.cpp reports;
`layers` knows what each layer keeps, `windows` the architectures whose layers look back over a window.
"""

from localllm.memory.estimate import (
    CACHE_TYPES,
    DEFAULT_CONTEXT,
    GPU_MARGIN_BYTES,
    MEMORY_SHARE,
    Footprint,
    cache_bytes,
    context_of,
    footprint_of,
    running_bytes,
)
from localllm.memory.layers import LayerMemory, layers_of

__all__ = [
    "CACHE_TYPES",
    "DEFAULT_CONTEXT",
    "GPU_MARGIN_BYTES",
    "MEMORY_SHARE",
    "Footprint",
    "LayerMemory",
    "cache_bytes",
    "context_of",
    "footprint_of",
    "layers_of",
    "running_bytes",
]
