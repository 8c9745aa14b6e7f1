"""JSON schema to GBNF: the binding's converter with what it gets wrong put right. Runs in `grammar`'s child.

Put right are: texts with quotes, backslashes or letters beyond ASCII; `true`, `{}` and schemas of
annotations alone (any value); references to the root and two definitions of the same last name.
"""

from __future__ import annotations

import json
import re
from typing import Any

from localllm.native.library import binding_module

# say nothing about the value
_ANNOTATIONS = {
    *("$schema", "$id", "$comment", "$anchor", "title", "description", "default", "examples", "example"),
    *("deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType", "strict", "name"),
}
# restrict it in a way the converter cannot express
_IGNORED = {
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "uniqueItems", "not"),
    *("minProperties", "maxProperties", "patternProperties", "propertyNames", "dependencies", "contains"),
    *("dependentRequired", "dependentSchemas", "if", "then", "else", "unevaluatedProperties"),
}
_NAMED_SCHEMAS = ("properties", "$defs", "definitions")  # their keys are names, not keywords
_DATA = ("const", "enum", "required")  # their values are no schemas
_ROOT = "whole"
_PREFIX = f"#/$defs/{_ROOT}"
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9-]+")
_ABBREVIATIONS = {"d": "0-9", "w": "a-zA-Z0-9_", "s": " \\t\\n\\r"}
_ABBREVIATION = re.compile(r"(?P<class>\[(?:\\.|[^\]\\])*\])|\\.", re.DOTALL)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}


def grammar_of(schema: str) -> tuple[str, list[str]]:
    """Return the grammar of a JSON schema, and the keywords in it that the grammar does not enforce."""
    ignored: set[str] = set()
    cleaned = _cleaned(json.loads(schema), ignored)
    # below the root, so that a reference to all of it is one like any other
    wrapped = {"$ref": _PREFIX, "$defs": {_ROOT: cleaned}}
    converter = _converter_class()(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
    converter.visit(converter.resolve_refs(wrapped, ""), "")
    return converter.format_grammar(), sorted(ignored)


def unenforced(schema: Any) -> list[str]:
    """Return the keywords in a schema that its grammar does not enforce. Raise ValueError for no schema."""
    ignored: set[str] = set()
    _cleaned(schema, ignored)
    return sorted(ignored)


def _cleaned(schema: Any, ignored: set[str]) -> Any:
    """Return a schema without annotations, its references below the root; collect what is ignored."""
    if schema is False:
        raise ValueError("a schema that is `false` allows nothing")
    if schema is True:
        return {}
    if isinstance(schema, list):
        return [_cleaned(item, ignored) for item in schema]
    if not isinstance(schema, dict):
        return schema
    ignored.update(_IGNORED & set(schema))
    kept = {}
    for key, value in schema.items():
        if key in _DATA:
            kept[key] = value
        elif key in _NAMED_SCHEMAS and isinstance(value, dict):
            kept[key] = {name: _cleaned(item, ignored) for name, item in value.items()}
        elif key == "additionalProperties" and isinstance(value, bool):
            kept[key] = value
        elif key == "$ref" and isinstance(value, str):
            if not value.startswith("#"):
                raise ValueError(f"the reference {value} leads out of it")
            kept[key] = _PREFIX + value[1:]
        elif key == "pattern" and isinstance(value, str):
            kept[key] = _anchored(value)
        elif key not in _ANNOTATIONS and key not in _IGNORED:
            kept[key] = _cleaned(value, ignored)
    return kept


def _anchored(pattern: str) -> str:
    """Return a regular expression in the form the converter reads: whole values, no abbreviations."""
    pattern = _ABBREVIATION.sub(_expanded, pattern.replace("(?:", "("))
    if pattern.startswith("^") and pattern.endswith("$"):
        return pattern
    before, after = ("" if pattern.startswith("^") else ".*"), ("" if pattern.endswith("$") else ".*")
    return f"^{before}({pattern.removeprefix('^').removesuffix('$')}){after}$"


def _expanded(match: re.Match[str]) -> str:
    """Return what an abbreviation stands for, within brackets or as brackets of its own."""
    if match["class"] is None:
        letters = _ABBREVIATIONS.get(match[0][1])
        return match[0] if letters is None else f"[{letters}]"
    return re.sub(r"\\(.)", lambda inner: _ABBREVIATIONS.get(inner[1], inner[0]), match["class"])


def _converter_class() -> Any:
    module: Any = binding_module("llama_grammar")

    class Converter(module.SchemaConverter):  # type: ignore[misc]
        def _format_literal(self, literal: str) -> str:
            escaped = "".join(_ESCAPES.get(letter, letter) for letter in _readable(literal))
            return f'"{escaped}"'

        def resolve_refs(self, schema: Any, url: str) -> Any:
            pending = [schema]
            while pending:
                part = pending.pop()
                if isinstance(part, dict) and isinstance(part.get("$ref"), str):
                    self._refs[part["$ref"]] = _target(schema, part["$ref"])
                if isinstance(part, dict | list):
                    pending.extend(part.values() if isinstance(part, dict) else part)
            return schema

        def _resolve_ref(self, ref: str) -> str:
            name = _NOT_IN_NAMES.sub("-", ref).strip("-") or _ROOT
            if name not in self._rules and ref not in self._refs_being_resolved:
                self._refs_being_resolved.add(ref)
                made: str = self.visit(self._refs[ref], name)
                self._refs_being_resolved.remove(ref)
                return made
            return name

        def visit(self, schema: Any, name: str) -> str:
            if not isinstance(schema, dict):
                raise ValueError(f"{json.dumps(schema)[:40]} is not a schema")
            if not schema:
                made: str = self._add_primitive("value", module.PRIMITIVE_RULES["value"])
                return made if name else self._add_rule("root", made)
            return str(super().visit(schema, name))

    return Converter


def _target(schema: Any, ref: str) -> Any:
    """Return what a reference points to."""
    for step in ref.removeprefix("#").split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, list) and step.isdecimal() and int(step) < len(schema):
            schema = schema[int(step)]
        elif isinstance(schema, dict) and step in schema:
            schema = schema[step]
        else:
            raise ValueError(f"the reference {ref.removeprefix(_PREFIX) or '#'} leads nowhere")
    return schema


def _readable(literal: str) -> str:
    """Return a JSON text with its letters beyond ASCII as they are, which the model is likelier to write."""
    try:
        return json.dumps(json.loads(literal), ensure_ascii=False)
    except ValueError:
        return literal
