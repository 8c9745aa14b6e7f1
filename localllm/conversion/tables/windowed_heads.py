"""Layers with a sliding window among those that attend to everything, whose heads differ in size and number.

Configurations say what differs for all layers without a window together (`global_…`), or layer by layer
(`per_layer_config`, transformers 5). The last layers may use the keys and values of earlier ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Shapes
from localllm.conversion.keys import ModelKey, by_layer, from_config
from localllm.errors import CheckpointError, UnsupportedModelError
from localllm.gguf_file.format import ValueType

_SLIDING, _FULL = "sliding_attention", "full_attention"
_SIZE, _KV_HEADS = "head_dim", "num_key_value_heads"
COPY = "copy config.json from the base model"


def slides(config: ModelConfig) -> list[bool]:
    """Tell which layers have a window."""
    return [kind == _SLIDING for kind in config.layer_types()]


def _overrides(config: ModelConfig) -> list[Mapping[str, Any]]:
    """Return what config.json says otherwise of each layer."""
    stated = config.get("per_layer_config")
    if stated is None:
        full = {_SIZE: config.get("global_head_dim")}
        if config.get("attention_k_eq_v"):  # transformers looks at it only then
            full[_KV_HEADS] = config.get("num_global_key_value_heads")
        return [{} if sliding else full for sliding in slides(config)]
    try:
        by_number = {int(number): dict(entries) for number, entries in stated.items()}
    except (AttributeError, TypeError, ValueError):
        raise CheckpointError(
            "config.json: `per_layer_config` does not map numbers of layers to settings", hint=COPY
        ) from None
    return [by_number.get(layer, {}) for layer in range(config.layers)]


def _each(config: ModelConfig, name: str) -> list[int]:
    """Return an entry of config.json for each layer."""
    found = []
    for overrides in _overrides(config):
        own = {name: value for name, value in overrides.items() if value is not None}
        found.append(ModelConfig({**config.values, **own}).integer(name))
    return found


def _first(values: Sequence[int], chosen: Sequence[bool]) -> int:
    return next((value for value, wanted in zip(values, chosen, strict=True) if wanted), 0)


def head_size(config: ModelConfig, *, sliding: bool) -> int:
    """Return the size of a head in layers with a window, or without."""
    return _first(_each(config, _SIZE), [own == sliding for own in slides(config)])


def _keys(config: ModelConfig, *, sliding: bool) -> int:
    """Return how many numbers the keys of a token have in a layer with a window, or without."""
    heads = _first(_each(config, _KV_HEADS), [own == sliding for own in slides(config)])
    return heads * head_size(config, sliding=sliding)


def _with_own_keys(config: ModelConfig) -> int:
    """Return how many of the first layers have keys and values of their own."""
    return max(0, config.layers - config.integer("num_kv_shared_layers"))


def _inner(config: ModelConfig) -> list[int]:
    """Return the width of each feed-forward block, which may be double where keys are shared."""
    width, own = config.integer("intermediate_size"), _with_own_keys(config)
    wide = 2 * width if config.get("use_double_wide_mlp") else width
    return [width] * own + [wide] * (config.layers - own)


def _u32(suffix: str, sliding: bool) -> ModelKey:
    return ModelKey(suffix, ValueType.UINT32, lambda c: head_size(c, sliding=sliding))


KEYS: tuple[ModelKey, ...] = (
    _u32("attention.key_length", sliding=False),
    _u32("attention.value_length", sliding=False),
    _u32("attention.key_length_swa", sliding=True),
    _u32("attention.value_length_swa", sliding=True),
    _u32("rope.dimension_count", sliding=False),
    _u32("rope.dimension_count_swa", sliding=True),
    *by_layer("attention.head_count_kv", lambda c: _each(c, _KV_HEADS)),
    *by_layer("feed_forward_length", _inner),
    from_config("attention.sliding_window", ValueType.UINT32, "sliding_window", required=True),
    ModelKey("attention.sliding_window_pattern", ValueType.BOOL, slides),
    from_config("attention.shared_kv_layers", ValueType.UINT32, "num_kv_shared_layers", required=True),
)


def kinds(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    """Return the layers by window, and those of them with keys and values of their own."""
    own = range(_with_own_keys(config))
    windows = [layer for layer, sliding in enumerate(slides(config)) if sliding]
    full = [layer for layer in range(config.layers) if layer not in windows]
    full_own = [layer for layer in full if layer in own]
    return {
        "sliding": windows,
        "full": full,
        "sliding_keys": [layer for layer in windows if layer in own],
        "full_keys": full_own,
        "full_values": [] if config.get("attention_k_eq_v") else full_own,
        "narrow": own,
        "wide": range(len(own), config.layers),
    }


def _attention(kind: str, *, sliding: bool) -> Shapes:
    values = "sliding_keys" if sliding else "full_values"

    def query(config: ModelConfig) -> int:
        return config.heads * head_size(config, sliding=sliding)

    return {
        f"blk.{{{kind}}}.attn_q.weight": lambda c: (c.hidden, query(c)),
        f"blk.{{{kind}}}.attn_output.weight": lambda c: (query(c), c.hidden),
        f"blk.{{{kind}}}.attn_q_norm.weight": lambda c: (head_size(c, sliding=sliding),),
        f"blk.{{{kind}_keys}}.attn_k.weight": lambda c: (c.hidden, _keys(c, sliding=sliding)),
        f"blk.{{{kind}_keys}}.attn_k_norm.weight": lambda c: (head_size(c, sliding=sliding),),
        f"blk.{{{values}}}.attn_v.weight": lambda c: (c.hidden, _keys(c, sliding=sliding)),
    }


def _feed_forward(kind: str, layer: int) -> Shapes:
    return {
        f"blk.{{{kind}}}.ffn_gate.weight": lambda c: (c.hidden, _inner(c)[layer]),
        f"blk.{{{kind}}}.ffn_up.weight": lambda c: (c.hidden, _inner(c)[layer]),
        f"blk.{{{kind}}}.ffn_down.weight": lambda c: (_inner(c)[layer], c.hidden),
    }


SHAPES: Shapes = (
    _attention("sliding", sliding=True)
    | _attention("full", sliding=False)
    | _feed_forward("narrow", 0)
    | _feed_forward("wide", -1)
)


def check(config: ModelConfig) -> None:
    """Refuse what the runtime would compute otherwise, or not survive."""
    types, windows = config.layer_types(), slides(config)
    if set(types) != {_SLIDING, _FULL} or types[-1] != _FULL:
        raise UnsupportedModelError(
            "config.json: layers must be sliding_attention and full_attention, the last one of these"
        )
    for name in (_SIZE, _KV_HEADS):
        for sliding in (True, False):
            found = {each for each, own in zip(_each(config, name), windows, strict=True) if own == sliding}
            if len(found) > 1:
                raise UnsupportedModelError(
                    f"config.json: {name} differs among layers of one type, which llama.cpp does not know"
                )
            if name == _KV_HEADS and (0 in found or config.heads % max(found)):
                raise CheckpointError(
                    f"config.json: {config.heads} attention heads cannot share {max(found)} key-value heads",
                    hint=COPY,
                )
    _check_sharing(config, types)


def _check_sharing(config: ModelConfig, types: Sequence[str]) -> None:
    """The runtime takes the last two layers that have keys for one with a window and one without."""
    shared, own = config.integer("num_kv_shared_layers"), _with_own_keys(config)
    if shared and list(types[max(0, own - 2) : own]) != [_SLIDING, _FULL]:
        raise UnsupportedModelError(
            f"config.json: num_kv_shared_layers is {shared}, but llama.cpp shares keys and values only "
            "behind a layer with a sliding window and one without"
        )
