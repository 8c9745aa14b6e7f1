"""A chat template at work: what it makes of a short conversation, in the sandbox and with its time limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localllm.chat_template import ChatTemplate
from localllm.errors import GenerationError
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key
from localllm.inspection.vocabulary import vocabulary_of

Message = dict[str, str]

SYSTEM: Message = {"role": "system", "content": "You are a helpful assistant."}
TURNS: tuple[Message, ...] = (
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of Italy?"},
)


@dataclass(frozen=True)
class RenderedTemplate:
    """A template and the prompt it makes of `messages`; `problem` says what it refused, if anything."""

    source: str
    messages: tuple[dict[str, Any], ...]
    prompt: str | None
    problem: str | None


def render_template(header: GGUFHeader, name: str | None = None) -> RenderedTemplate | None:
    """Render the chat template of a model, or the one called `name`; None when there is no such template."""
    source = header.text(Key.CHAT_TEMPLATE if name is None else f"{Key.CHAT_TEMPLATE}.{name}")
    if not source:
        return None
    bos, eos = _ends(header)
    return render(source, bos=bos, eos=eos)


def render(source: str, *, bos: str = "", eos: str = "") -> RenderedTemplate:
    """Render a template with a system message, or without one where it refuses that."""
    try:
        compiled = ChatTemplate(source, bos=bos, eos=eos)
    except GenerationError as error:
        return RenderedTemplate(source, (), None, error.message)
    messages: Sequence[Message] = (SYSTEM, *TURNS)
    try:
        return RenderedTemplate(source, tuple(messages), compiled.render(messages), None)
    except GenerationError as error:
        refused = error.message
    try:
        prompt = compiled.render(TURNS)
    except GenerationError as error:
        return RenderedTemplate(source, TURNS, None, error.message)
    return RenderedTemplate(source, TURNS, prompt, f"with a system message: {refused}")


def _ends(header: GGUFHeader) -> tuple[str, str]:
    vocabulary = vocabulary_of(header)
    tokens = [vocabulary.token(role) if vocabulary else None for role in ("bos", "eos")]
    bos, eos = ((token.text or "") if token else "" for token in tokens)
    return bos, eos
