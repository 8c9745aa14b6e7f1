"""How models write tool calls, which their chat templates tell, and what a written call means (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from localllm.server.xml_calls import Schemas, call_in_xml, is_xml

_DECODER = json.JSONDecoder()
_ARGUMENTS = ("arguments", "parameters")
_BETWEEN_CALLS = " \t\r\n;,"


class CallSyntax(StrEnum):
    """How calls are marked.

    HERMES (and Qwen, JSON or XML): `<tool_call>…</tool_call>`; MISTRAL: `[TOOL_CALLS]` and a list, or a name
    and its arguments; GRANITE (and Phi): `<|tool_call|>` and a list; LLAMA (and whoever has no marks): the
    answer is the JSON of the call.
    """

    HERMES = "hermes"
    MISTRAL = "mistral"
    GRANITE = "granite"
    LLAMA = "llama"


@dataclass(frozen=True)
class Call:
    """A call as the API tells it: `arguments` is the text of a JSON object."""

    name: str
    arguments: str


# what is written in front of calls, and behind them
MARKS = {
    CallSyntax.HERMES: ("<tool_call>", "</tool_call>"),
    CallSyntax.MISTRAL: ("[TOOL_CALLS]", ""),
    CallSyntax.GRANITE: ("<|tool_call|>", "<|/tool_call|>"),
    CallSyntax.LLAMA: ("", ""),
}
PYTHON_TAG = "<|python_tag|>"
# may be control tokens, which an engine leaves out of its text unless it is asked for them
CONTROL_TEXTS = frozenset(
    {PYTHON_TAG, "[ARGS]", "[CALL_ID]"} | {mark for pair in MARKS.values() for mark in pair} - {""}
)
_OTHER_MARKS = re.compile(r"<[|｜]?tool[_▁]call")


def syntax_of(template: str) -> CallSyntax | None:
    """Return how a model with this chat template writes its calls; None where it has marks of its own."""
    for syntax, (opening, _) in MARKS.items():
        if opening and opening in template:
            return syntax
    return None if _OTHER_MARKS.search(template) else CallSyntax.LLAMA


def calls_in(text: str, syntax: CallSyntax, schemas: Schemas) -> list[Call] | None:
    """Return the calls that `text`, without the marks around it, means; None where it is something else.

    `schemas` are those of the arguments of each function there is.
    """
    try:
        if syntax is CallSyntax.HERMES and is_xml(text):
            name, arguments = call_in_xml(text, schemas)
            return [Call(name, json.dumps(arguments, ensure_ascii=False))]
        if syntax is CallSyntax.MISTRAL and not text.lstrip().startswith(("[{", "[ {", "{")):
            return list(_named_calls(text))
        return [_call_of(value) for value in _values(text)] or None
    except (ValueError, RecursionError):
        return None


def _values(text: str) -> Iterator[Any]:
    """Yield the JSON values in `text`, those of a list one by one. Raise ValueError for anything else."""
    rest = text.strip(_BETWEEN_CALLS)
    while rest:
        value, end = _DECODER.raw_decode(rest)
        yield from value if isinstance(value, list) else [value]
        rest = rest[end:].lstrip(_BETWEEN_CALLS)


def _call_of(value: Any) -> Call:
    """Return the call that a JSON value is. Raise ValueError."""
    if (
        isinstance(value, dict)
        and value.get("type") == "function"
        and isinstance(value.get("function"), dict)
    ):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError("no call")
    arguments: Any = next((value[key] for key in _ARGUMENTS if key in value), {})
    return Call(value["name"], _as_text(arguments))


def _as_text(arguments: Any) -> str:
    """Return arguments as the text of an object; some models write that text themselves."""
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if not isinstance(arguments, dict):
        raise ValueError("arguments are an object")
    return json.dumps(arguments, ensure_ascii=False)


def _named_calls(text: str) -> Iterator[Call]:
    """Yield calls written as `name[ARGS]{…}` or `name{…}`, one behind the other. Raise ValueError."""
    rest = text.strip()
    while rest:
        name, brace, _ = rest.partition("{")
        if not brace:
            raise ValueError("no arguments")
        arguments, end = _DECODER.raw_decode(rest, len(name))
        name = name.removeprefix("[TOOL_CALLS]").removesuffix("[ARGS]").partition("[CALL_ID]")[0].strip()
        if not name or not isinstance(arguments, dict):
            raise ValueError("no call")
        yield Call(name, json.dumps(arguments, ensure_ascii=False))
        rest = rest[end:].strip()
