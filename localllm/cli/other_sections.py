"""What is no model in words: adapters, importance matrices and projectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from localllm.cli.facts import Fact, Section
from localllm.cli.inspection_sections import listed

if TYPE_CHECKING:
    from localllm.inspection.adapters import Adapter
    from localllm.inspection.description import ModelDescription
    from localllm.inspection.matrices import Imatrix
    from localllm.inspection.projectors import Encoder

_MANY = 12


def other_sections(d: ModelDescription) -> list[Section]:
    """Return the sections that only some kinds of file have."""
    return [
        Section("Adapter", list(_adapter(d.adapter)) if d.adapter else []),
        Section("Importance matrix", list(_imatrix(d.imatrix)) if d.imatrix else []),
        *(Section(f"{each.modality.capitalize()} encoder", list(_encoder(each))) for each in d.encoders),
    ]


def _adapter(a: Adapter) -> Iterator[Fact]:
    yield Fact("type", ", ".join(filter(None, (a.type or "unknown", *a.variants))))
    if a.base_model:
        yield Fact("base model", a.base_model)
    if a.rank:
        yield Fact("rank", ", ".join(map(str, a.rank)))
    if a.alpha is not None:
        yield Fact("alpha", _alpha(a, a.alpha))
    if a.modules:
        names = [f"{name} x {count}" if count else name for name, count in a.modules.items()]
        where = f" in {a.layers} layers" if a.layers else ""
        yield Fact("changes", listed(names, _MANY) + where)
    if a.task:
        yield Fact("task", a.task)


def _alpha(a: Adapter, alpha: float) -> str:
    if not alpha:
        return "0: the strength is in the numbers"
    is_plain = len(a.rank) == 1 and a.rank[0] > 0 and not a.variants
    return f"{alpha:g}" + (f", a strength of {alpha / a.rank[0]:g}" if is_plain else "")


def _imatrix(m: Imatrix) -> Iterator[Fact]:
    experts = f", {m.experts} experts" if m.experts > 1 else ""
    yield Fact("covers", f"{m.entries} weights in {m.layers} layers{experts}")
    if m.chunks:
        tokens = f" of {m.chunk_size:,} tokens, {m.chunks * m.chunk_size:,} in all" if m.chunk_size else ""
        yield Fact("measured on", f"{m.chunks:,} chunks{tokens}")
    if m.datasets:
        yield Fact("texts", listed(m.datasets))
    yield Fact("format", m.format)


def _encoder(e: Encoder) -> Iterator[Fact]:
    if e.projector:
        yield Fact("projector", e.projector)
    if e.layers:
        wide = f", {e.embedding_length:,} wide" if e.embedding_length else ""
        yield Fact("layers", f"{e.layers}{wide}")
    if e.heads:
        yield Fact("attention", f"{e.heads} heads")
    if e.image_size:
        patch = f" in patches of {e.patch_size}" if e.patch_size else ""
        yield Fact("images", f"{e.image_size} x {e.image_size} pixels{patch}")
    if e.projection_length:
        yield Fact("output", f"{e.projection_length:,} wide")
