"""The hyperparameters of a model: how many layers, how wide, what they attend to, how they tell positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from localllm.gguf_file import GGUFHeader
from localllm.memory import Footprint
from localllm.memory.numbers import MAX_LAYERS, per_layer


@dataclass(frozen=True)
class Rope:
    """Rotary positions; `scaling` is the method that reaches beyond `original_context_length`."""

    base: float | None = None
    dimensions: int | None = None
    scaling: str = ""
    factor: float | None = None
    original_context_length: int | None = None


@dataclass(frozen=True)
class Experts:
    """A mixture of experts: how many a layer has, how many work on a token, how many always do."""

    count: int
    used: int | None = None
    shared: int | None = None
    feed_forward_length: int | None = None


@dataclass(frozen=True)
class Window:
    """`layers` of them look back over `tokens` only; None when that is not known."""

    tokens: int
    layers: int | None = None


@dataclass(frozen=True)
class Recurrence:
    """Layers that keep a state of fixed size, alone or beside a cache; the bytes are those of all layers."""

    layers: int
    state_bytes: int


@dataclass(frozen=True)
class Dimensions:
    """The hyperparameters. What may differ per layer is a list of all values, empty when unknown.

    Of the `layers`, the last `mtp_layers` predict further tokens, for speculation, and the last
    `shared_kv_layers` use the keys and values of others. `windowed_key_length` is the size of heads in layers
    with a window, where that is stated; `latent_length` the numbers of a token that all heads make their keys
    and values from, where these are compressed.
    """

    layers: int | None = None
    embedding_length: int | None = None
    feed_forward_length: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    kv_heads: tuple[int, ...] = ()
    key_length: int | None = None
    value_length: int | None = None
    context_length: int | None = None
    rope: Rope = field(default_factory=Rope)
    experts: Experts | None = None
    window: Window | None = None
    recurrence: Recurrence | None = None
    mtp_layers: int | None = None
    shared_kv_layers: int | None = None
    windowed_key_length: int | None = None
    latent_length: int | None = None


def dimensions_of(header: GGUFHeader, footprint: Footprint | None) -> Dimensions:
    """Return what a header says; `footprint` tells what its layers keep, if that could be found out."""
    number = header.architecture_integer
    width, heads = number("embedding_length"), _values(header, "attention.head_count")
    shared = width // heads[-1] if width and heads and heads[-1] > 0 else None
    is_latent = bool(number("attention.key_length_mla"))
    own = "_mla" if is_latent else ""
    return Dimensions(
        layers=number("block_count"),
        embedding_length=width,
        feed_forward_length=_values(header, "feed_forward_length"),
        heads=heads,
        kv_heads=_values(header, "attention.head_count_kv"),
        key_length=number(f"attention.key_length{own}") or shared,
        value_length=number(f"attention.value_length{own}") or shared,
        context_length=number("context_length"),
        rope=_rope(header),
        experts=_experts(header),
        window=_window(header, footprint),
        recurrence=_recurrence(footprint),
        mtp_layers=number("nextn_predict_layers"),
        shared_kv_layers=number("attention.shared_kv_layers") or None,
        windowed_key_length=number("attention.key_length_swa"),
        latent_length=number("attention.key_length") if is_latent else None,
    )


def finite(value: float | None) -> float | None:
    """Return a number that is one; a file may hold NaN and infinity."""
    return value if value is not None and math.isfinite(value) else None


def distinct(values: Sequence[int]) -> tuple[int, ...]:
    """Return the values there are, in ascending order."""
    return tuple(sorted(set(values)))


def _values(header: GGUFHeader, suffix: str) -> tuple[int, ...]:
    layers = min(max(header.architecture_integer("block_count") or 0, 1), MAX_LAYERS)
    return distinct(per_layer(header, suffix, layers) or ())


def _rope(header: GGUFHeader) -> Rope:
    arch = header.architecture
    factor = finite(header.number(f"{arch}.rope.scaling.factor"))
    return Rope(
        base=finite(header.number(f"{arch}.rope.freq_base")),
        dimensions=header.architecture_integer("rope.dimension_count"),
        scaling=header.text(f"{arch}.rope.scaling.type"),
        factor=factor or finite(header.number(f"{arch}.rope.scale_linear")),
        original_context_length=header.architecture_integer("rope.scaling.original_context_length"),
    )


def _experts(header: GGUFHeader) -> Experts | None:
    count = header.architecture_integer("expert_count")
    if not count:
        return None
    used = _values(header, "expert_used_count")
    inner = _values(header, "expert_feed_forward_length")
    return Experts(
        count=count,
        used=used[-1] if used else None,
        shared=header.architecture_integer("expert_shared_count"),
        feed_forward_length=inner[-1] if inner else None,
    )


def _window(header: GGUFHeader, footprint: Footprint | None) -> Window | None:
    """Return the window llama.cpp uses; some files name one that it does not know how to use."""
    stated = header.architecture_integer("attention.sliding_window")
    if footprint is None:
        return Window(stated) if stated else None
    windowed = [layer.window for layer in footprint.layers if layer.window]
    if not windowed:
        return Window(stated, 0) if stated else None
    return Window(windowed[0], len(windowed))


def _recurrence(footprint: Footprint | None) -> Recurrence | None:
    states = [layer.state_bytes for layer in footprint.layers if layer.state_bytes] if footprint else []
    return Recurrence(len(states), sum(states)) if states else None
