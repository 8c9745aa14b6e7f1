"""Renders a conversation with a model's own chat template: sandboxed, and with a time limit.

The environment is that of transformers (`utils/chat_template_utils.py`): an immutable sandbox with trimmed
blocks, loop controls, the `generation` tag passed through, and `raise_exception` and `strftime_now`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from localllm.errors import GenerationError
from localllm.native.time_limit import call_with_limit

if TYPE_CHECKING:
    from jinja2 import Environment

_TIME_LIMIT_SECONDS = 1.0
_MAX_PROMPT_CHARACTERS = 16 * 1024 * 1024


class ChatTemplate:
    """A compiled chat template. Raise GenerationError when it cannot be compiled."""

    def __init__(self, source: str, *, bos: str, eos: str) -> None:
        import jinja2

        self._failures: tuple[type[Exception], ...] = (
            jinja2.TemplateError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
            OverflowError,
        )
        self._tokens = {"bos_token": bos, "eos_token": eos}
        try:
            self._template = _environment().from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise GenerationError(f"the model's chat template is broken: {_first_line(error)}") from None

    def render(self, messages: Sequence[Mapping[str, Any]], *, open_turn: bool = True) -> str:
        """Return the prompt, by default up to where the assistant's next answer begins (`open_turn`).

        Raise GenerationError with the template's own message when it rejects the conversation.
        """
        names = {
            **self._tokens,
            "messages": [dict(message) for message in messages],
            "tools": None,
            "add_generation_prompt": open_turn,
        }
        try:
            prompt = call_with_limit(lambda: self._template.render(names), _TIME_LIMIT_SECONDS)
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


@functools.cache
def _environment() -> Environment:
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class GenerationTag(Extension):
        """`{% generation %}` marks the assistant's words for training; the words pass through."""

        tags = {"generation"}  # noqa: RUF012 (the interface is a plain attribute)

        def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML, which a prompt must not."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise ValueError(message)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
