"""What a Go template consists of, once it is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Literal:
    """A text, a number or a truth value as it is written."""

    value: str | int | bool


@dataclass(frozen=True)
class Path:
    """A value and the fields of it that follow; `variable` is "" for the dot, "$" for what was given."""

    variable: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """A function and its arguments."""

    function: str
    arguments: tuple[Expression, ...]


Expression = Literal | Path | Call


@dataclass(frozen=True)
class Output:
    """A text as it stands, or the value of an expression."""

    value: str | Expression


@dataclass(frozen=True)
class Assignment:
    """A variable that is made (`:=`) or changed (`=`)."""

    name: str
    value: Expression
    declares: bool


@dataclass(frozen=True)
class If:
    """The branches in order, each with its condition."""

    condition: Expression
    then: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True)
class Range:
    """A list that is gone through; `index` and `item` are variables, "" where there is none."""

    items: Expression
    index: str
    item: str
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


Node = Output | Assignment | If | Range
