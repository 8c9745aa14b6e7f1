"""A Modelfile: what Ollama is told about a model besides its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from localllm.control_filter import clean
from localllm.errors import UsageError
from localllm.export.modelfile_values import NotWritableError, as_read, without_invisible, written

MARK = "# Made by localllm"
_LONGEST_COMMENT = 200  # characters; some of it is the text of strangers


@dataclass(frozen=True)
class Modelfile:
    """What is to be written; `files` are the model's, beside the Modelfile, all parts of a split one.

    `parameters` are pairs of Ollama's names and values, `comments` are for people. An empty text is left out.
    """

    files: Sequence[str]
    adapters: Sequence[str] = ()
    template: str | None = None
    system: str | None = None
    parameters: Sequence[tuple[str, str]] = ()
    license: str | None = None
    comments: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class WrittenModelfile:
    """The text of a Modelfile, and what could not be written into it."""

    text: str
    left_out: tuple[str, ...]


def modelfile(content: Modelfile) -> WrittenModelfile:
    """Return the text of a Modelfile. Raise UsageError for a file name or system prompt that it cannot hold.

    A licence or a parameter that it cannot hold is left out, and a system prompt loses invisible characters.
    """
    left_out: list[str] = []
    lines = [f"{MARK}; `ollama create NAME -f Modelfile` reads it.", *map(_comment, content.comments)]
    lines += [f"FROM {_file(name)}" for name in content.files]
    lines += [f"ADAPTER {_file(name)}" for name in content.adapters]
    if content.template is not None:
        lines.append(f"TEMPLATE {_in_three_quotes(content.template)}")
    if content.system:
        lines.append(f"SYSTEM {_system(content.system, left_out)}")
    for name, value in content.parameters:
        try:
            lines.append(f"PARAMETER {name} {_always_quoted(value) if name == 'stop' else written(value)}")
        except NotWritableError:
            left_out.append(f"the parameter {name} {value!r}")
    if content.license:
        try:
            lines.append(f"LICENSE {written(without_invisible(content.license))}")
        except NotWritableError:
            left_out.append("the licence")
    return WrittenModelfile("\n".join(lines) + "\n", tuple(left_out))


def _file(name: str) -> str:
    try:
        return written(f"./{name}")
    except NotWritableError:
        raise UsageError(f"a Modelfile cannot hold the file name {name!r}", hint="rename the file") from None


def _in_three_quotes(template: str) -> str:
    """Return a template of ours: Modelfiles hold it as it is, it was written that way."""
    form = f'"""{template}"""'
    if as_read(form) != template:
        raise AssertionError("a template that a Modelfile cannot hold")
    return form


def _system(text: str, left_out: list[str]) -> str:
    visible = without_invisible(text)
    if visible != text:
        left_out.append("the invisible characters of the system prompt")
    try:
        return written(visible)
    except NotWritableError:
        raise UsageError(
            "a Modelfile cannot hold this system prompt: a line of it ends with three quotes",
            hint="change the quotes",
        ) from None


def _always_quoted(value: str) -> str:
    """Return a text between quotes, so that one can see where it ends. Raise NotWritableError."""
    form = written(value)
    return f'"{value}"' if form == value else form


def _comment(text: str) -> str:
    return f"# {' '.join(clean(text).split())[:_LONGEST_COMMENT]}"
