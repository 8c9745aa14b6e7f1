"""Opens the weights of a source in the process that quantizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localllm.quantization import checkpoint_source, gguf_source
from localllm.quantization.source import PiecesOf


def open_weights(spec: Mapping[str, Any]) -> PiecesOf:
    """Return how to read the weights of the source whose `weights` is `spec`."""
    openers: dict[str, Callable[[Mapping[str, Any]], PiecesOf]] = {
        gguf_source.KIND: gguf_source.open_weights,
        checkpoint_source.KIND: checkpoint_source.open_weights,
    }
    return openers[spec["kind"]](spec)
