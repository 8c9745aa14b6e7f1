"""Sections of labelled facts on stdout: fitted into the terminal and styled there, plain lines when piped."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localllm.cli.output import Output
from localllm.control_filter import clean

_INDENT = "  "
_NARROWEST = 40  # columns; in fewer the terminal may break the lines itself
_WIDEST = 120  # longer lines are hard to read
_LONGEST_LABEL = 16
_LONGEST_TEXT = 1000  # characters; a file may say anything


@dataclass(frozen=True)
class Fact:
    """A value with its label in front, broken between words and indented where it does not fit."""

    label: str
    value: str
    bar: str = ""


@dataclass(frozen=True)
class Row:
    """A line of a table, as it is; `is_heading` sets it off."""

    text: str
    is_heading: bool = False


@dataclass(frozen=True)
class Item:
    """One of several points, with a hint on what to do."""

    text: str
    hint: str | None = None


@dataclass(frozen=True)
class Section:
    """Lines under a title."""

    title: str
    lines: Sequence[Fact | Row | Item]


Part = tuple[str, str]  # a text and its style


def print_sections(out: Output, sections: Sequence[Section]) -> None:
    """Print those of `sections` that have lines, an empty line between them; nothing with `--json`."""
    if out.as_json:
        return
    shown = [section for section in sections if section.lines]
    facts = [line for section in shown for line in section.lines if isinstance(line, Fact)]
    width = min(max((len(fact.label) for fact in facts), default=0), _LONGEST_LABEL) + 2
    show = _terminal() if sys.stdout.isatty() else _pipe(out)
    for number, section in enumerate(shown):
        if number:
            show([("", "")], "")
        show([(_one_line(section.title), "bold")], "")
        for line in section.lines:
            _print_line(line, width, show)


def _print_line(line: Fact | Row | Item, width: int, show: Callable[[Sequence[Part], str], None]) -> None:
    if isinstance(line, Fact):
        label = f"{_INDENT}{_one_line(line.label):<{width}}"
        parts = [(label, "dim"), (line.bar, "cyan"), (_one_line(line.value), "")]
        show(parts, " " * len(label))
    elif isinstance(line, Row):
        show([(_INDENT + _one_line(line.text), "dim" if line.is_heading else "")], "")
    else:
        show([(f"{_INDENT}- ", "yellow"), (_one_line(line.text), "")], f"{_INDENT}  ")
        if line.hint:
            show([(f"{_INDENT}  hint: ", "cyan"), (_one_line(line.hint), "")], f"{_INDENT}  ")


def _one_line(text: str) -> str:
    """Return text of a stranger on one line, without anything that steers a terminal."""
    shown = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
    return clean(shown).replace("\n", " ").replace("\t", " ")


def _pipe(out: Output) -> Callable[[Sequence[Part], str], None]:
    return lambda parts, _indent: out.text("".join(text for text, _ in parts).rstrip())


def _terminal() -> Callable[[Sequence[Part], str], None]:
    """Return how to show parts on a terminal: the last one is broken between words."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    columns = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    console = Console(highlight=False, soft_wrap=True)

    def show(parts: Sequence[Part], indent: str) -> None:
        *head, (last, style) = parts
        used = sum(cell_len(text) for text, _ in head)
        first, *rest = _broken(last, columns - used, columns - len(indent), cell_len) if indent else [last]
        console.print(Text.assemble(*head, (first, style)))
        for line in rest:
            console.print(Text.assemble(indent, (line, style)))

    return show


def _broken(text: str, first: int, others: int, width_of: Callable[[str], int]) -> list[str]:
    """Break a text between words into lines of `first` and then `others` columns; words stay whole."""
    first_word, *words = text.split(" ")
    lines, line, room = [], first_word, first
    for word in words:
        longer = f"{line} {word}"
        if line.strip() and width_of(longer) > room:
            lines.append(line)
            line, room = word, others
        else:
            line = longer
    return [*lines, line]
