"""The template of a loaded model: its special tokens come from the vocabulary."""

from __future__ import annotations

from localllm.chat_template.rendering import ChatTemplate
from localllm.native.model import Model


def template_of(model: Model, source: str | None) -> ChatTemplate | None:
    """Return the template `source` for `model`; None where there is none. Raise GenerationError."""
    if not source:
        return None
    return ChatTemplate(source, bos=_text_of(model, model.bos), eos=_text_of(model, model.eos))


def _text_of(model: Model, token: int) -> str:
    if not 0 <= token < model.vocabulary_size:
        return ""
    return model.piece(token, special=True).decode("utf-8", "replace")
