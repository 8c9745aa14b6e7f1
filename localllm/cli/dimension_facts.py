"""Architecture and hyperparameters of a model in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from localllm.cli.facts import Fact, Section
from localllm.units import format_bytes, format_count

if TYPE_CHECKING:
    from localllm.inspection.description import ModelDescription
    from localllm.inspection.dimensions import Dimensions, Experts, Rope, Window

_KINDS = ("model", "vocabulary", "checkpoint")  # what has dimensions


def dimensions_section(d: ModelDescription) -> Section:
    """Return architecture and hyperparameters."""
    facts = _model(d) if d.kind in _KINDS else [Fact("architecture", d.architecture)]
    return Section("Model", [fact for fact in facts if fact.value])


def _model(d: ModelDescription) -> Iterator[Fact]:
    yield Fact("class", d.source.class_name if d.source else "")
    yield Fact("architecture", d.architecture)
    if d.parameters:
        active = (
            f", of which {format_count(d.active_parameters)} work on a token" if d.active_parameters else ""
        )
        yield Fact("parameters", f"{format_count(d.parameters)} ({d.parameters:,}){active}")
    if d.dimensions:
        yield from _dimensions(d.dimensions)


def _dimensions(d: Dimensions) -> Iterator[Fact]:
    wide = f", {d.embedding_length:,} wide" if d.embedding_length else ""
    inner = f", feed-forward {_range(d.feed_forward_length)}" if any(d.feed_forward_length) else ""
    ahead = f", {d.mtp_layers} of them for multi-token prediction" if d.mtp_layers else ""
    yield Fact("layers", f"{d.layers}{wide}{inner}{ahead}" if d.layers else "")
    yield Fact("experts", _experts(d.experts) if d.experts else "")
    yield Fact("attention", _attention(d) if any(d.heads) else "")
    yield Fact("sliding window", _window(d.window) if d.window else "")
    if d.recurrence:
        state = format_bytes(d.recurrence.state_bytes)
        yield Fact("recurrent", f"{d.recurrence.layers} layers with a state, {state} in all")
    yield Fact("context", f"{d.context_length:,} tokens" if d.context_length else "")
    yield Fact("positions", _rope(d.rope))


def _experts(experts: Experts) -> str:
    parts = [
        f"{experts.count} in a layer",
        f"{experts.used} work on a token" if experts.used else "",
        f"{experts.shared} shared" if experts.shared else "",
        f"each {experts.feed_forward_length:,} wide" if experts.feed_forward_length else "",
    ]
    return ", ".join(filter(None, parts))


def _attention(d: Dimensions) -> str:
    size = f" of {d.key_length}" if d.key_length else ""
    if d.value_length and d.value_length != d.key_length:
        size += f" (values of {d.value_length})"
    if d.windowed_key_length and d.windowed_key_length != d.key_length:
        size += f" ({d.windowed_key_length} in sliding windows)"
    kept = [heads for heads in d.kv_heads if heads]  # a layer that does not attend has none
    groups = f", {_range(kept)} for keys and values" if kept else ""
    if d.latent_length:
        groups = f", keys and values of all compressed to {d.latent_length} numbers"
    shared = f"; the last {d.shared_kv_layers} layers use those of others" if d.shared_kv_layers else ""
    return f"{_range(d.heads)} heads{size}{groups}{shared}"


def _window(window: Window) -> str:
    """Return what is looked back over; a file may name a window that llama.cpp does not use."""
    if window.layers is None:
        return f"{window.tokens:,} tokens"
    if window.layers == 0:
        return f"{window.tokens:,} tokens, which llama.cpp does not use in this architecture"
    return f"{window.tokens:,} tokens in {window.layers} layers"


def _rope(rope: Rope) -> str:
    parts = [f"RoPE base {rope.base:,.10g}"] if rope.base else []
    if rope.scaling and rope.scaling != "none":
        factor = f" x {rope.factor:g}" if rope.factor else ""
        origin = f" from {rope.original_context_length:,} tokens" if rope.original_context_length else ""
        parts.append(f"{rope.scaling}{factor}{origin}")
    elif rope.factor and rope.factor != 1:
        parts.append(f"linear x {rope.factor:g}")
    return ", ".join(parts)


def _range(values: Sequence[int]) -> str:
    """Return one number, or the smallest and the largest of several."""
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"
