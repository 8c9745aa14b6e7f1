"""Sliding windows of attention that llama.cpp does not use in an architecture."""

from __future__ import annotations

from collections.abc import Iterable

from localllm.conversion.config import ModelConfig


def remark_unused(config: ModelConfig) -> Iterable[str]:
    """Remark that texts longer than the window are attended to whole, if the model was trained with one."""
    window, context = config.get("sliding_window"), config.get("max_position_embeddings")
    if not isinstance(window, int) or config.get("use_sliding_window") is False:
        return
    if not isinstance(context, int) or window < context:
        yield (
            f"config.json says that layers look back over {window} tokens only (sliding_window), which "
            "llama.cpp does not do in this architecture: longer texts are computed otherwise than in training"
        )
