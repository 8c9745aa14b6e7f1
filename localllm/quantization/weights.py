"""Opens the weights of a source in the process that quantizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localllm.quantization import gguf_source
from localllm.quantization.source import PiecesOf


def open_weights(spec: Mapping[str, Any]) -> PiecesOf:
    """Return how to read the weights of the source whose `weights` is `spec`."""
    if spec["kind"] == gguf_source.KIND:
        return gguf_source.open_weights(spec)
    # the whole converter comes with it, which a file can do without
    from localllm.quantization import checkpoint_source

    return checkpoint_source.open_weights(spec)
