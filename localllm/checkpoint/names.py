"""What checkpoints of all families call the tensors that stand outside the layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

EMBEDDINGS = (
    *("embed_tokens.weight", "wte.weight", "embed_in.weight"),
    *("backbone.embeddings.weight", "backbone.embedding.weight"),
)
HEADS = ("lm_head.weight", "embed_out.weight")

_Tensor = TypeVar("_Tensor")


def token_embedding(tensors: Mapping[str, _Tensor]) -> _Tensor | None:
    """Return the token embedding among tensors by name, if there is one."""
    return next((tensor for name, tensor in tensors.items() if name.endswith(EMBEDDINGS)), None)
