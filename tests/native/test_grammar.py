"""Grammars and JSON schemas: what is accepted, what is refused in one line, and what would hang or abort."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from localllm.errors import UsageError
from localllm.native.grammar import check_grammar, compile_schema


@pytest.mark.parametrize(
    ("grammar", "said"),
    [
        ('root ::= "a', "broken: unexpected end of input"),
        ("root ::= other", "broken: Undefined rule identifier 'other'"),
        ('start ::= "a"', "broken: grammar does not contain a 'root' symbol"),
        ('root ::= root "a"', "broken: unsupported grammar, left recursion"),
        ('root ::= "a"{100000}', "broken: number of repetitions"),
        ("root = 1", "broken: expecting ::="),
        ('root ::= <nonsense> "a"', "broken: "),
        ("root ::= \0", "zero byte"),
        ("root ::= " + "(" * 500_000 + '"a"' + ")" * 500_000, "too complex"),
    ],
)
def test_a_broken_grammar_is_one_line(narrow_gguf: Path, grammar: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        check_grammar(grammar, narrow_gguf)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("grammar", ['root ::= "a"', 'root ::= [a-z]+ ("," [a-z]+)*', "root ::= <s>"])
def test_a_good_grammar_passes(narrow_gguf: Path, grammar: str) -> None:
    assert check_grammar(grammar, narrow_gguf).text == grammar


DEEP = '{"type": "object", "properties": {"a": ' * 3000 + "true" + "}}" * 3000


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "unheard"}, "Unrecognized schema"),
        ({"$ref": "https://example.org/schema"}, "leads out of it"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"properties": 5}, "not a valid schema"),
        ({"anyOf": 5}, "not a valid schema"),
        (False, "allows nothing"),
        ({"$ref": "#"}, "left recursion"),
        ({"type": "string", "maxLength": 10**9}, "too much memory"),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 10**6}, "characters long"),
    ],
)
def test_a_schema_that_cannot_be_used_is_one_line(narrow_gguf: Path, schema: Any, said: str) -> None:
    started = time.monotonic()
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        compile_schema(json.dumps(schema), narrow_gguf)
    assert "\n" not in caught.value.message
    assert time.monotonic() - started < 10


def test_a_schema_nested_too_deeply_is_refused(narrow_gguf: Path) -> None:
    with pytest.raises(UsageError, match="nested too deeply"):
        compile_schema(DEEP, narrow_gguf)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"description": "anything"},
        {"type": ["string", "null"]},
        {"enum": ["a", 1, None, True, {"x": [1]}]},
        {"const": 'quotes " and \\ and é and 😀'},
        {"type": "object", "properties": {'a"b': {"type": "null"}}, "required": ['a"b']},
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
        {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 4},
        {"type": "string", "pattern": r"\d{3}-[\w.]+(?:a|b)"},
        {"type": "string", "format": "date-time"},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "properties": {"a": True}, "additionalProperties": False},
        {
            "allOf": [{"$ref": "#/$defs/x/node"}, {"$ref": "#/$defs/y/node"}],
            "$defs": {
                "x": {"node": {"properties": {"q": {"type": "null"}}}},
                "y": {"node": {"properties": {"r": {"type": "null"}}}},
            },
        },
    ],
)
def test_schemas_of_all_kinds_compile(narrow_gguf: Path, schema: Any) -> None:
    made = compile_schema(json.dumps(schema), narrow_gguf)
    assert "root ::=" in made.text
    assert made.ignored == ()


def test_what_cannot_be_enforced_is_told(narrow_gguf: Path) -> None:
    schema = {"type": "object", "properties": {"minimum": {"type": "integer", "minimum": 3, "title": "x"}}}
    made = compile_schema(json.dumps(schema), narrow_gguf)
    assert made.ignored == ("minimum",)
    assert '\\"minimum\\"' in made.text  # the property of that name is there
