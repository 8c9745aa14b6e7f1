"""A chat template as it is written: what it mentions, and whether its blocks are closed. It is not run here.

Compiling a template takes longer than everything else that is looked at; `rendering` does it when asked to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key, ValueType

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython", "observation")
_MAX_NAMES = 100
_ROLE = re.compile(rf"""(['"])({"|".join(ROLES)})\1""")
_TOOLS = re.compile(r"\btools\b")
_THINKING = re.compile(r"enable_thinking|reasoning_content|<think>|\bthinking\b")
# an item is never tried twice (possessive and atomic), so that no template takes more than its length
_TEXT = r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+\""""
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_STATEMENT = re.compile(rf"""\{{%[-+]?\s*+(\w*+)((?>{_TEXT}|[^'"%]|%(?!\}}))*+)%\}}""", re.DOTALL)
_EXPRESSION = re.compile(rf"""\{{\{{(?>{_TEXT}|[^'"}}]|\}}(?!\}}))*+\}}\}}""", re.DOTALL)
_END_RAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_ASSIGNMENT = re.compile(r"[\s\w.,()]+=(?!=)")
_OPEN = re.compile(r"\{[{%#]")
_PARTS = {"{#": _COMMENT, "{{": _EXPRESSION, "{%": _STATEMENT}
_BLOCKS = ("for", "if", "macro", "call", "filter", "set", "generation", "block", "with", "autoescape")
_MAX_CHECKED = 1_000_000  # characters


@dataclass(frozen=True)
class Template:
    """A chat template: the roles it names, whether it knows tools and thinking; `names` are further ones."""

    source: str
    roles: tuple[str, ...] = ()
    tools: bool = False
    thinking: bool = False
    names: tuple[str, ...] = ()


def template_of(header: GGUFHeader) -> Template | None:
    """Return the chat template of a model, None when it has none."""
    source = header.text(Key.CHAT_TEMPLATE)
    return template(source, _names(header)) if source else None


def template(source: str, names: tuple[str, ...] = ()) -> Template:
    """Return what a template mentions."""
    looked_at = source[:_MAX_CHECKED]
    found = {match[2] for match in _ROLE.finditer(looked_at)}
    return Template(
        source=source,
        roles=tuple(role for role in ROLES if role in found),
        tools=_TOOLS.search(looked_at) is not None,
        thinking=_THINKING.search(looked_at) is not None,
        names=names,
    )


def unclosed(source: str) -> str | None:
    """Return what is not closed or closes nothing, None when the blocks are in order.

    What this finds every Jinja parser refuses; it does not find everything.
    """
    if len(source) > _MAX_CHECKED:
        return None
    opened: list[str] = []
    position = 0
    while (start := _OPEN.search(source, position)) is not None:
        at = start.start()
        match = _PARTS[start[0]].match(source, at)
        if match is not None and match.re is _STATEMENT and match[1] == "raw":
            match = _END_RAW.search(source, match.end())
        if match is None:
            return f"`{source[at : at + 20].split()[0]}` in line {_line(source, at)} is never closed"
        position = match.end()
        if match.re is _STATEMENT:
            problem = _step(opened, match[1], match[2])
            if problem:
                return f"{problem} in line {_line(source, at)}"
    return f"a `{opened[-1]}` is never closed" if opened else None


def _step(opened: list[str], word: str, rest: str) -> str | None:
    """Follow one statement; return what is wrong with it."""
    if word.startswith("end") and word[3:] in _BLOCKS:
        if not opened or opened.pop() != word[3:]:
            return f"`{word}` closes nothing"
    elif word == "set":
        if _ASSIGNMENT.match(rest) is None:
            opened.append(word)  # a block that is assigned
    elif word in _BLOCKS:
        opened.append(word)
    return None


def _line(source: str, position: int) -> int:
    return source.count("\n", 0, position) + 1


def _names(header: GGUFHeader) -> tuple[str, ...]:
    names = header.array("tokenizer.chat_templates")
    if names is None or names.item_type is not ValueType.STRING or len(names) > _MAX_NAMES:
        return ()
    return tuple(map(str, names.decode()))
