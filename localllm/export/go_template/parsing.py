"""Builds the tree of a Go template from its pieces."""

from __future__ import annotations

from collections.abc import Sequence

from localllm.export.go_template.lexing import Action, GoTemplateError, Kind, Text, Token, pieces
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

FUNCTIONS = ("and", "or", "not", "eq", "ne", "len", "slice")
_TRUTH = {"true": True, "false": False}


def parse(source: str) -> tuple[Node, ...]:
    """Return the tree of a template. Raise GoTemplateError."""
    reader = _Reader(list(pieces(source)))
    nodes, ending = reader.block()
    if ending is not None:
        raise GoTemplateError(f"`{ending[0].value}` belongs to nothing")
    return nodes


class _Reader:
    """Goes through the pieces of a template."""

    def __init__(self, found: list[Text | Action]) -> None:
        self._pieces = found
        self._at = 0

    def block(self) -> tuple[tuple[Node, ...], Sequence[Token] | None]:
        """Return the nodes up to an `else` or `end` and the tokens of that; None at the template's end."""
        nodes: list[Node] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if isinstance(piece, Text):
                nodes.append(Output(piece.text))
                continue
            if not piece.tokens:
                raise GoTemplateError("an action is empty")
            word = piece.tokens[0].value if piece.tokens[0].kind is Kind.WORD else ""
            if word in ("end", "else"):
                return tuple(nodes), piece.tokens
            if word == "if":
                nodes.append(self._if(piece.tokens[1:]))
            elif word == "range":
                nodes.append(self._range(piece.tokens[1:]))
            else:
                nodes.append(_plain(piece.tokens))
        return tuple(nodes), None

    def _if(self, tokens: Sequence[Token]) -> If:
        condition = _whole(tokens)
        then, ending = self.block()
        return If(condition, then, self._otherwise(ending))

    def _otherwise(self, ending: Sequence[Token] | None) -> tuple[Node, ...]:
        """Return what belongs to an `else`, whose `end` is then read."""
        if ending is None:
            raise GoTemplateError("a block is not closed")
        if ending[0].value == "end":
            if len(ending) > 1:
                raise GoTemplateError("`end` stands alone")
            return ()
        if len(ending) > 1:
            if ending[1].value != "if":
                raise GoTemplateError("behind `else` there is nothing or `if`")
            return (self._if(ending[2:]),)
        nodes, last = self.block()
        if last is None or last[0].value != "end":
            raise GoTemplateError("an `else` is not closed")
        return nodes

    def _range(self, tokens: Sequence[Token]) -> Range:
        names: list[str] = []
        at = next((i for i, token in enumerate(tokens) if token.value == ":="), None)
        if at is not None:
            names, tokens = _range_variables(tokens[:at]), tokens[at + 1 :]
        body, ending = self.block()
        index, item = ("", *names)[-2:] if names else ("", "")
        return Range(_whole(tokens), index, item, body, self._otherwise(ending))


def _range_variables(tokens: Sequence[Token]) -> list[str]:
    """Return the names in front of `:=`."""
    names = [token.value for token in tokens[::2]]
    are_variables = all(token.kind is Kind.VARIABLE for token in tokens[::2])
    if (
        not are_variables
        or [token.value for token in tokens[1::2]] != [","] * (len(names) - 1)
        or len(names) > 2
    ):
        raise GoTemplateError("`range` takes one or two variables")
    return names


def _plain(tokens: Sequence[Token]) -> Node:
    if len(tokens) > 2 and tokens[0].kind is Kind.VARIABLE and tokens[1].value in (":=", "="):
        return Assignment(tokens[0].value, _whole(tokens[2:]), tokens[1].value == ":=")
    return Output(_whole(tokens))


def _whole(tokens: Sequence[Token]) -> Expression:
    """Return the one expression that tokens are: a function with its arguments, or an operand."""
    if not tokens:
        raise GoTemplateError("a value is missing")
    expression, rest = _expression(tokens)
    if rest:
        raise GoTemplateError(f"`{rest[0].value}` is not known here")
    return expression


def _expression(tokens: Sequence[Token]) -> tuple[Expression, Sequence[Token]]:
    """Return the expression that tokens begin with, up to a closing parenthesis, and what follows."""
    first = tokens[0]
    if first.kind is Kind.WORD and first.value not in _TRUTH:
        if first.value not in FUNCTIONS:
            raise GoTemplateError(f"the function `{first.value}` is not known here")
        arguments: list[Expression] = []
        rest = tokens[1:]
        while rest and rest[0].value != ")":
            argument, rest = _operand(rest)
            arguments.append(argument)
        return Call(first.value, tuple(arguments)), rest
    return _operand(tokens)


def _operand(tokens: Sequence[Token]) -> tuple[Expression, Sequence[Token]]:
    first, rest = tokens[0], tokens[1:]
    if first.kind is Kind.TEXT:
        return Literal(first.value), rest
    if first.kind is Kind.NUMBER:
        return Literal(int(first.value)), rest
    if first.kind is Kind.WORD and first.value in _TRUTH:
        return Literal(_TRUTH[first.value]), rest
    if first.kind is Kind.DOT:
        return Path(""), rest
    if first.kind is Kind.FIELD:
        return _path("", tokens)
    if first.kind is Kind.VARIABLE:
        return _path(first.value, rest)
    if first.value == "(" and first.kind is Kind.SIGN and rest:
        inner, behind = _expression(rest)
        if not behind or behind[0].value != ")":
            raise GoTemplateError("a parenthesis is not closed")
        if behind[1:] and behind[1].is_joined and behind[1].kind is Kind.FIELD:
            raise GoTemplateError("fields of what is in parentheses are not known here")
        return inner, behind[1:]
    raise GoTemplateError(f"`{first.value}` is not known here")


def _path(variable: str, tokens: Sequence[Token]) -> tuple[Path, Sequence[Token]]:
    """Return the fields that follow a variable or the dot without a space, and what is behind them."""
    count = 0
    while count < len(tokens) and tokens[count].kind is Kind.FIELD:
        if not tokens[count].is_joined and (count or variable):
            break
        count += 1
    return Path(variable, tuple(token.value for token in tokens[:count])), tokens[count:]
