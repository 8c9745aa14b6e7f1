"""The grammar of an answer that must be a tool call."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localllm.native.grammar import compile_schema
from localllm.server.call_syntax import MARKS, CallSyntax
from localllm.server.tools import Function

_ROOT = re.compile(r"^root ::=", re.MULTILINE)
_CALL = "the-call"


def forced_grammar(functions: Sequence[Function], syntax: CallSyntax, model: Path) -> str:
    """Return the grammar of one call of one of `functions`, written as the model writes calls.

    Raise UsageError when the schema of a function's arguments cannot be followed.
    """
    key = "parameters" if syntax is CallSyntax.LLAMA else "arguments"
    calls = [_schema(function, key, f"#/anyOf/{index}") for index, function in enumerate(functions)]
    made = compile_schema(json.dumps({"anyOf": calls}), model).text
    grammar = _ROOT.sub(f"{_CALL} ::=", made)
    return f"root ::= {_around(syntax)}\n{grammar}"


def _schema(function: Function, key: str, place: str) -> dict[str, Any]:
    arguments = _moved(function.schema_of_arguments, f"{place}/properties/{key}")
    return {
        "type": "object",
        "properties": {"name": {"const": function.name}, key: arguments},
        "required": ["name", key],
    }


def _moved(schema: Any, place: str) -> Any:
    """Return a schema with its references from its new place in another one."""
    if isinstance(schema, list):
        return [_moved(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: place + value[1:] if name == "$ref" and isinstance(value, str) and value[:1] == "#"
        else _moved(value, place)
        for name, value in schema.items()
    }  # fmt: skip


def _around(syntax: CallSyntax) -> str:
    """Return the root rule: the call between the marks of its syntax."""
    opening, closing = MARKS[syntax]
    if syntax is CallSyntax.HERMES:
        return f'"{opening}\\n" {_CALL} "\\n{closing}"'
    return _CALL if syntax is CallSyntax.LLAMA else f'"{opening}[" {_CALL} "]"'
