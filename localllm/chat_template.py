"""Renders a conversation with the model's own chat template: sandboxed, and with a time limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localllm.errors import GenerationError
from localllm.native.time_limit import call_with_limit

_TIME_LIMIT_SECONDS = 1.0
_MAX_PROMPT_CHARACTERS = 16 * 1024 * 1024


class ChatTemplate:
    """A compiled chat template. Raise GenerationError when it cannot be compiled."""

    def __init__(self, source: str, *, bos: str, eos: str) -> None:
        import jinja2
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        self._failures: tuple[type[Exception], ...] = (
            jinja2.TemplateError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
            OverflowError,
        )
        try:
            self._formatter = Jinja2ChatFormatter(source, eos_token=eos, bos_token=bos)
        except jinja2.TemplateError as error:
            raise GenerationError(f"the model's chat template is broken: {_first_line(error)}") from None

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the prompt up to the assistant's turn.

        Raise GenerationError with the template's own message when it rejects the conversation.
        """
        formatter: Any = self._formatter
        copies = [dict(message) for message in messages]
        try:
            prompt: str = call_with_limit(lambda: formatter(messages=copies).prompt, _TIME_LIMIT_SECONDS)
        except TimeoutError:
            raise GenerationError(
                f"the model's chat template did not finish within {_TIME_LIMIT_SECONDS:g} seconds"
            ) from None
        except self._failures as error:
            raise GenerationError(
                f"the model's chat template rejects the conversation: {_first_line(error)}"
            ) from None
        if len(prompt) > _MAX_PROMPT_CHARACTERS:
            raise GenerationError(f"the model's chat template made a prompt of {len(prompt)} characters")
        return prompt


def plain_prompt(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the prompt for a model without a template: the last user message, to be continued."""
    return str(messages[-1]["content"]) if messages else ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
