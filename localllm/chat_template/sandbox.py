"""Compiles and renders templates inside the child process of `rendering`; jinja2 is imported here alone.

The environment is that of transformers (`utils/chat_template_utils.py`): an immutable sandbox with trimmed
blocks, loop controls, the `generation` tag passed through, and `raise_exception` and `strftime_now`.
"""

from __future__ import annotations

import functools
import json
from datetime import datetime
from typing import Any

from jinja2 import Environment, Template, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_PROMPT_CHARACTERS = 16 * 1024 * 1024
_KEPT_TEMPLATES = 8


def check(arguments: dict[str, Any]) -> None:
    """Compile `source`; raise what jinja2 raises for a broken template."""
    _compiled(arguments["source"])


def render(arguments: dict[str, Any]) -> str:
    """Return the text that `source` makes of `names`; raise what the template raises."""
    prompt = _compiled(arguments["source"]).render(arguments["names"])
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise ValueError(f"made a prompt of {len(prompt)} characters")
    return prompt


@functools.lru_cache(maxsize=_KEPT_TEMPLATES)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)


class _GenerationTag(Extension):
    """`{% generation %}` marks the assistant's words for training; the words pass through."""

    tags = {"generation"}  # noqa: RUF012 (the interface is a plain attribute)

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@functools.cache
def _environment() -> Environment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
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
