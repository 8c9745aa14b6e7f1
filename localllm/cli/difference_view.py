"""Shows what changed between two models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from localllm.cli.facts import Fact, Row, Section, print_sections
from localllm.cli.inspection_view import in_words
from localllm.cli.output import Output
from localllm.units import format_bytes

if TYPE_CHECKING:
    from localllm.inspection.difference import Change, Difference, TensorChange
    from localllm.inspection.token_changes import TokenChanges

_LONGEST_VALUE = 60
_MANY_TIMES = 10


def show_difference(out: Output, d: Difference) -> None:
    """Print what leads from one model to the other."""
    out.data(d)
    size = f"{format_bytes(d.old_size_bytes)} -> {format_bytes(d.new_size_bytes)}"
    facts = [Fact("from", d.old), Fact("to", d.new), Fact("size", f"{size} ({_growth(d)})")]
    if d.is_empty:
        facts.append(Fact("headers", "the same; weights are not compared"))
    print_sections(
        out,
        [
            Section("What changed", facts),
            Section("Metadata", list(_metadata(d))),
            Section("Tensors", list(_tensors(d))),
            Section("Vocabulary", list(_tokens(d.tokens)) if d.tokens else []),
            Section("Chat template", [Row(line) for line in d.template.split("\n")] if d.template else []),
        ],
    )


def _growth(d: Difference) -> str:
    """Return by how much a model grew or shrank: in percent, or many times."""
    times = d.new_size_bytes / max(1, d.old_size_bytes)
    return f"{times - 1:+.1%}" if times < _MANY_TIMES else f"x {times:,.0f}"


def _metadata(d: Difference) -> Iterator[Row]:
    yield from (Row(f"+ {key} = {_short(value)}") for key, value in d.metadata_added.items())
    yield from (Row(f"- {key} = {_short(value)}") for key, value in d.metadata_removed.items())
    yield from (Row(f"~ {key}: {_change(change)}") for key, change in d.metadata_changed.items())


def _change(change: Change) -> str:
    values = f"{_short(change.old)} -> {_short(change.new)}"
    if change.differing is None:
        return values
    return f"{change.differing:,} values differ" + ("" if change.old == change.new else f", {values}")


def _tensors(d: Difference) -> Iterator[Row]:
    yield from _lines("+", d.tensors_added)
    yield from _lines("-", d.tensors_removed)
    yield from _lines("~", d.types_changed)
    yield from _lines("~", d.shapes_changed)


def _lines(sign: str, changes: Sequence[TensorChange]) -> Iterator[Row]:
    for change in changes:
        times = f" ({change.tensors} tensors)" if change.tensors > 1 else ""
        what = " -> ".join(filter(None, (change.old, change.new)))
        yield Row(f"{sign} {change.name}: {what}{times}")


def _tokens(tokens: TokenChanges) -> Iterator[Row]:
    counts = {"changed": tokens.changed, "added": tokens.added, "removed": tokens.removed}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    yield Row(f"{tokens.old_size:,} -> {tokens.new_size:,} tokens: {told}")
    for example in tokens.examples:
        texts = [repr(text) for text in (example.old, example.new) if text is not None]
        sign = "~" if len(texts) == 2 else "+" if example.old is None else "-"
        yield Row(f"{sign} {example.id}: {' -> '.join(texts)}")


def _short(value: Any) -> str:
    text = in_words(value).replace("\n", "\\n")
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
