"""Tool calls as Qwen's later models write them: `<function=NAME>`, a `<parameter=KEY>` an argument (pure).

The values are bare text. What they are is told by the schema of the function's arguments: a text is itself,
anything else is JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

Schemas = Mapping[str, Mapping[str, Any]]  # of the arguments of each function

_FUNCTION = re.compile(r"\s*<function=(?P<name>[^>\n]+)>(?P<inside>.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"\s*<parameter=(?P<key>[^>\n]+)>\n?(?P<value>.*?)\n?</parameter>\s*", re.DOTALL)


def is_xml(text: str) -> bool:
    """Return whether what is between the marks of a call is written this way."""
    return text.lstrip().startswith("<function=")


def call_in_xml(text: str, schemas: Schemas) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of a call. Raise ValueError when it is none."""
    function = _FUNCTION.match(text)
    if function is None:
        raise ValueError("no function")
    name, inside = function["name"].strip(), function["inside"]
    properties = schemas.get(name, {}).get("properties", {})
    arguments: dict[str, Any] = {}
    at = 0
    while parameter := _PARAMETER.match(inside, at):
        key = parameter["key"].strip()
        arguments[key] = _value(
            parameter["value"], properties.get(key) if isinstance(properties, dict) else None
        )
        at = parameter.end()
    if inside[at:].strip():
        raise ValueError("something that is no parameter")
    return name, arguments


def _value(text: str, schema: Any) -> Any:
    kind = schema.get("type") if isinstance(schema, dict) else None
    if kind in (None, "string"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
