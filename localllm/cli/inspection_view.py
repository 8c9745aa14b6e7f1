"""Shows what was inspected: a description, its tensors, metadata or template, or what changed between two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from localllm.cli.dimension_facts import dimensions_section
from localllm.cli.facts import print_sections
from localllm.cli.inspection_sections import (
    header_section,
    problems_section,
    tokenizer_section,
    weights_section,
)
from localllm.cli.output import Output

if TYPE_CHECKING:
    from localllm.inspection.description import ModelDescription
    from localllm.inspection.rendering import RenderedTemplate
    from localllm.inspection.tensor_list import TensorDescription

_LONGEST_VALUE = 120
_RULE = "-" * 8


def show_description(out: Output, d: ModelDescription) -> None:
    """Print everything there is to say about a model or another file."""
    from localllm.cli.memory_section import levels_section, memory_section
    from localllm.cli.other_sections import other_sections

    out.data(d)
    sections = [
        header_section(d),
        dimensions_section(d),
        *other_sections(d),
        weights_section(d),
        tokenizer_section(d),
        memory_section(d.memory),
        levels_section(d.source),
        problems_section(d),
    ]
    print_sections(out, sections)


def show_tensors(out: Output, tensors: Sequence[TensorDescription]) -> None:
    """Print the tensors, one in a line."""
    out.data(tensors)
    has_files = any(tensor.file for tensor in tensors)
    rows = [
        (
            _one_line(tensor.name),
            " x ".join(map(str, tensor.shape)),
            tensor.type,
            str(tensor.size_bytes),
            str(tensor.offset),
            *([tensor.file] if has_files else []),
        )
        for tensor in tensors
    ]
    headings = ("tensor", "shape", "type", "bytes", "offset", *(["file"] if has_files else []))
    out.table(headings, rows, numeric=("bytes", "offset"))


def show_metadata(out: Output, values: dict[str, Any], key: str | None) -> None:
    """Print metadata: the value of a key that was asked for whole, everything else in a line each."""
    out.data(values)
    for name, value in values.items():
        out.text(_whole(value) if name == key else f"{_one_line(name)} = {_one_line(value)}")


def show_template(out: Output, rendered: RenderedTemplate) -> None:
    """Print a chat template, then what it makes of a short conversation, or why it does not."""
    out.data(rendered)
    out.text(rendered.source)
    if rendered.problem:
        out.notice(rendered.problem)
    if rendered.prompt is not None:
        out.text(f"{_RULE} a conversation with this template {_RULE}")
        out.text(rendered.prompt)


def _whole(value: Any) -> str:
    return "\n".join(map(in_words, value)) if isinstance(value, list) else in_words(value)


def in_words(value: Any) -> str:
    """Return a value for people; a float with the digits that a float32 has."""
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _one_line(value: Any) -> str:
    text = in_words(value).replace("\n", "\\n")
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
