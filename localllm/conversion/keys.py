"""Which metadata keys a model gets, as data: a suffix, a type and where the value comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from localllm.conversion.config import EXPERT_COUNT, ModelConfig
from localllm.errors import CheckpointError, UnsupportedModelError
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import TypedValue, array

_DEFAULT_THETA = 10000.0
_SAME_FACTOR = 1e-3


@dataclass(frozen=True)
class ModelKey:
    """One `{arch}.{suffix}` key. `value` returns None to leave it out, a list for an array of `type`."""

    suffix: str
    type: ValueType
    value: Callable[[ModelConfig], Any]


def from_config(suffix: str, kind: ValueType, *names: str, required: bool = False) -> ModelKey:
    """Take the value of the first config.json entry of `names` that is present."""

    def read(config: ModelConfig) -> Any:
        if config.get(*names) is None and not required:
            return None
        return config.integer(*names) if kind is ValueType.UINT32 else config.number(*names)

    return ModelKey(suffix, kind, read)


def required(suffix: str, name: str) -> ModelKey:
    """Take a whole number that config.json must have."""
    return from_config(suffix, ValueType.UINT32, name, required=True)


def without(keys: Iterable[ModelKey], *suffixes: str) -> Iterator[ModelKey]:
    """Yield the keys that have none of `suffixes`."""
    return (key for key in keys if key.suffix not in suffixes)


def by_layer(suffix: str, values: Callable[[ModelConfig], list[int]]) -> tuple[ModelKey, ModelKey]:
    """Write a number for each layer, or a single one where all layers have the same."""

    def same(config: ModelConfig) -> int | None:
        found = values(config)
        return found[0] if len(set(found)) == 1 else None

    def different(config: ModelConfig) -> list[int] | None:
        found = values(config)
        return found if len(set(found)) > 1 else None

    return ModelKey(suffix, ValueType.UINT32, same), ModelKey(suffix, ValueType.INT32, different)


def encode_keys(arch: str, keys: Iterable[ModelKey], config: ModelConfig) -> dict[str, TypedValue]:
    """Evaluate `keys`; raise CheckpointError when a required value is missing."""
    values = ((key, key.value(config)) for key in keys)
    return {f"{arch}.{key.suffix}": _typed(key.type, value) for key, value in values if value is not None}


def _typed(kind: ValueType, value: Any) -> TypedValue:
    return array(kind, value) if isinstance(value, list) else TypedValue(kind, value)


def unscaled_rope(config: ModelConfig) -> Iterator[tuple[str, TypedValue]]:
    """Yield nothing: for architectures whose rotary scaling the runtime does not take from metadata."""
    kind = str(config.rope.get("rope_type", "default"))
    if kind != "default":
        raise UnsupportedModelError(f"rope scaling of type `{kind}` is not supported for this architecture")
    return iter(())


def sectioned_rope(config: ModelConfig) -> Iterator[tuple[str, TypedValue]]:
    """Yield the `rope.scaling.*` keys of an architecture that rotates in sections, which is no scaling."""
    if config.rope.get("rope_type") == "mrope":
        return iter(())
    return rope_scaling(config)


def _sections(config: ModelConfig) -> list[int]:
    """Return how many pairs of a head are rotated by time, height, width and what else there may be."""
    given = config.rope.get("mrope_section")
    if not isinstance(given, list) or len(given) not in (3, 4) or not all(map(_is_count, given)):
        raise CheckpointError(f"config.json: mrope_section must be three numbers, not {given!r:.40}")
    return [*given, 0][:4]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**16


def rope_scaling(config: ModelConfig) -> Iterator[tuple[str, TypedValue]]:
    """Yield the `rope.scaling.*` keys for the scaling types the runtime knows from metadata.

    "llama3" has no keys (it becomes a tensor); an unknown type is refused, because ignoring it would
    change what the model computes.
    """
    rope = config.rope
    kind = str(rope.get("rope_type", "default"))
    if kind in ("default", "llama3"):
        return
    if kind == "dynamic":
        raise UnsupportedModelError(
            "config.json asks for dynamic rope scaling, which GGUF files cannot express",
            hint="remove `rope_scaling` from config.json to use the model at its original context length",
        )
    if kind not in ("linear", "yarn"):
        raise UnsupportedModelError(f"rope scaling of type `{kind}` is not supported for this architecture")
    if "factor" not in rope:
        raise CheckpointError(f"config.json: rope scaling of type `{kind}` has no factor")
    yield "rope.scaling.type", TypedValue(ValueType.STRING, kind)
    yield "rope.scaling.factor", TypedValue(ValueType.FLOAT32, float(rope["factor"]))
    if kind == "yarn":
        yield from _yarn(rope)


def _yarn(rope: Any) -> Iterator[tuple[str, TypedValue]]:
    original = rope.get("original_max_position_embeddings")
    if not isinstance(original, int):
        raise CheckpointError("config.json: yarn scaling needs original_max_position_embeddings")
    _check_attention_factor(rope)
    yield "rope.scaling.original_context_length", TypedValue(ValueType.UINT32, original)
    names = (
        ("yarn_ext_factor", "extrapolation_factor"),
        ("yarn_attn_factor", "attention_factor"),
        ("yarn_beta_fast", "beta_fast"),
        ("yarn_beta_slow", "beta_slow"),
    )
    for suffix, name in names:
        if rope.get(name) is not None:
            yield f"rope.scaling.{suffix}", TypedValue(ValueType.FLOAT32, float(rope[name]))


def _check_attention_factor(rope: Any) -> None:
    """The runtime multiplies attention by 0.1 ln(factor) + 1, whatever config.json says."""
    given = rope.get("attention_factor", rope.get("attn_factor"))
    runtime = 0.1 * math.log(rope["factor"]) + 1 if rope["factor"] > 1 else 1.0
    if given is not None and not (_is_float(given) and abs(given - runtime) < _SAME_FACTOR):
        raise UnsupportedModelError(
            f"config.json: the attention_factor of yarn scaling is {given!r:.20}, "
            f"but llama.cpp would take {runtime:.4f}"
        )


def _is_float(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# What every transformer with RMS normalisation writes; names in order of precedence.
COMMON_KEYS: tuple[ModelKey, ...] = (
    ModelKey("block_count", ValueType.UINT32, lambda c: c.blocks),
    ModelKey("nextn_predict_layers", ValueType.UINT32, lambda c: c.mtp_layers or None),
    from_config(
        "context_length",
        ValueType.UINT32,
        "max_position_embeddings",
        "n_ctx",
        "n_positions",
        required=True,
    ),
    from_config("embedding_length", ValueType.UINT32, "hidden_size", "n_embd", required=True),
    from_config("feed_forward_length", ValueType.UINT32, "intermediate_size", "n_inner", required=True),
    ModelKey("attention.head_count", ValueType.UINT32, lambda c: c.heads),
    ModelKey("attention.head_count_kv", ValueType.UINT32, lambda c: c.kv_heads),
    from_config(
        "attention.layer_norm_rms_epsilon", ValueType.FLOAT32, "rms_norm_eps", "norm_eps", required=True
    ),
    ModelKey("rope.freq_base", ValueType.FLOAT32, lambda c: c.rope.get("rope_theta")),
)
SECTIONS_KEY = ModelKey("rope.dimension_sections", ValueType.INT32, _sections)
HEAD_SIZE_KEYS: tuple[ModelKey, ...] = (
    ModelKey("attention.key_length", ValueType.UINT32, lambda c: c.head_size),
    ModelKey("attention.value_length", ValueType.UINT32, lambda c: c.head_size),
)


def _unusual_theta(config: ModelConfig) -> float | None:
    theta = float(config.rope.get("rope_theta", _DEFAULT_THETA))
    return None if theta == _DEFAULT_THETA else theta


# the rotary base where it is not llama.cpp's own default
UNUSUAL_THETA_KEY = ModelKey("rope.freq_base", ValueType.FLOAT32, _unusual_theta)
# what every transformer with layer normalisation writes
LAYER_NORM_KEYS: tuple[ModelKey, ...] = (
    *without(COMMON_KEYS, "attention.head_count_kv", "attention.layer_norm_rms_epsilon", "rope.freq_base"),
    from_config(
        "attention.layer_norm_epsilon",
        ValueType.FLOAT32,
        "layer_norm_eps",
        "layer_norm_epsilon",
        "norm_eps",
        required=True,
    ),
)
# where llama.cpp's own default, the hidden size shared out among the heads, serves otherwise
GIVEN_HEAD_SIZE_KEYS: tuple[ModelKey, ...] = (
    from_config("attention.key_length", ValueType.UINT32, "head_dim"),
    from_config("attention.value_length", ValueType.UINT32, "head_dim"),
)
VOCABULARY_SIZE_KEY = ModelKey("vocab_size", ValueType.UINT32, lambda c: c.integer("vocab_size"))
EXPERT_KEYS: tuple[ModelKey, ...] = (
    from_config("expert_count", ValueType.UINT32, *EXPERT_COUNT, required=True),
    from_config("expert_used_count", ValueType.UINT32, "num_experts_per_tok", required=True),
)
