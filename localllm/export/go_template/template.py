"""Executes a Go template on values: texts, numbers, truth values, lists and mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localllm.export.go_template.lexing import GoTemplateError
from localllm.export.go_template.nodes import (
    Assignment,
    Call,
    Expression,
    If,
    Literal,
    Node,
    Output,
    Path,
    Range,
)
from localllm.export.go_template.parsing import parse

_GIVEN = "$"


class GoTemplate:
    """A template that was read. Raise GoTemplateError for one that is wrong or not understood here."""

    def __init__(self, source: str) -> None:
        self._nodes = parse(source)

    def render(self, values: Mapping[str, Any]) -> str:
        """Return what the template makes of `values`. Raise GoTemplateError."""
        parts: list[str] = []
        _Run(parts.append, values).block(self._nodes, values)
        return "".join(parts)


class _Run:
    """One execution: where text goes, and the variables in force, those of the innermost block last."""

    def __init__(self, write: Callable[[str], object], given: Any) -> None:
        self._write = write
        self._variables: list[tuple[str, Any]] = [(_GIVEN, given)]

    def block(self, nodes: Sequence[Node], dot: Any) -> None:
        """Execute the nodes of a block; its variables end with it."""
        known = len(self._variables)
        for node in nodes:
            self._node(node, dot)
        del self._variables[known:]

    def _node(self, node: Node, dot: Any) -> None:
        if isinstance(node, Output):
            self._write(node.value if isinstance(node.value, str) else _shown(self._value(node.value, dot)))
        elif isinstance(node, Assignment):
            self._assign(node, self._value(node.value, dot))
        elif isinstance(node, If):
            self.block(node.then if _is_true(self._value(node.condition, dot)) else node.otherwise, dot)
        else:
            self._range(node, dot)

    def _range(self, node: Range, dot: Any) -> None:
        items = self._value(node.items, dot)
        if not isinstance(items, list):
            raise GoTemplateError("`range` needs a list")
        known = len(self._variables)
        for index, item in enumerate(items):
            self._variables += [(n, v) for n, v in ((node.index, index), (node.item, item)) if n]
            self.block(node.body, item)
            del self._variables[known:]
        if not items:
            self.block(node.otherwise, dot)

    def _assign(self, node: Assignment, value: Any) -> None:
        if node.declares:
            self._variables.append((node.name, value))
            return
        self._variables[self._place(node.name)] = (node.name, value)

    def _place(self, name: str) -> int:
        for place in reversed(range(len(self._variables))):
            if self._variables[place][0] == name:
                return place
        raise GoTemplateError(f"undefined variable {name}")

    def _value(self, expression: Expression, dot: Any) -> Any:
        if isinstance(expression, Literal):
            return expression.value
        if isinstance(expression, Path):
            value = self._variables[self._place(expression.variable)][1] if expression.variable else dot
            for field in expression.fields:
                if not isinstance(value, Mapping) or field not in value:
                    raise GoTemplateError(f"there is no field {field}")
                value = value[field]
            return value
        return self._call(expression, dot)

    def _call(self, call: Call, dot: Any) -> Any:
        if call.function in ("and", "or"):
            value: Any = None
            for argument in _at_least(call, 1):
                value = self._value(argument, dot)
                if _is_true(value) is (call.function == "or"):
                    break
            return value
        values = [self._value(argument, dot) for argument in call.arguments]
        return _FUNCTIONS[call.function](call, values)


def _not(call: Call, values: list[Any]) -> bool:
    _exactly(call, 1)
    return not _is_true(values[0])


def _eq(call: Call, values: list[Any]) -> bool:
    _at_least(call, 2)
    return any(_same(values[0], other) for other in values[1:])


def _ne(call: Call, values: list[Any]) -> bool:
    _exactly(call, 2)
    return not _same(*values)


def _len(call: Call, values: list[Any]) -> int:
    _exactly(call, 1)
    if isinstance(values[0], str):
        return len(values[0].encode())
    if isinstance(values[0], list | Mapping):
        return len(values[0])
    raise GoTemplateError("`len` needs a text or a list")


def _slice(call: Call, values: list[Any]) -> list[Any]:
    items, *bounds = values
    if not isinstance(items, list) or len(bounds) > 2 or not all(type(each) is int for each in bounds):
        raise GoTemplateError("`slice` is known for a list and one or two numbers")
    start = bounds[0] if bounds else 0
    end = bounds[1] if len(bounds) > 1 else len(items)
    if not 0 <= start <= end <= len(items):
        raise GoTemplateError("`slice` is out of range")
    return items[start:end]


_FUNCTIONS: dict[str, Callable[[Call, list[Any]], Any]] = {
    "not": _not,
    "eq": _eq,
    "ne": _ne,
    "len": _len,
    "slice": _slice,
}


def _exactly(call: Call, count: int) -> None:
    if len(call.arguments) != count:
        raise GoTemplateError(f"`{call.function}` takes {count} values")


def _at_least(call: Call, count: int) -> tuple[Expression, ...]:
    if len(call.arguments) < count:
        raise GoTemplateError(f"`{call.function}` takes {count} values or more")
    return call.arguments


def _same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        raise GoTemplateError("values of different kinds are compared")
    return bool(left == right)


def _is_true(value: Any) -> bool:
    return bool(value)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise GoTemplateError("only texts, numbers and truth values can be written")
