"""A model's hyperparameters under one spelling, whatever wrote config.json.

`normalise` merges a nested text configuration into the root, fills the defaults the family declares
(those transformers would fill in; transformers 5 writes `rope_parameters` where 4 wrote `rope_theta`
and `rope_scaling`), and gathers everything about rotary embeddings under `rope`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localllm.errors import CheckpointError, UnsupportedModelError

_TEXT_CONFIGS = ("text_config", "llm_config", "lm_config", "language_config")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
EXPERT_COUNT = ("num_local_experts", "num_experts", "n_routed_experts")
_MTP_LAYERS = "kept_mtp_layers"  # no entry of config.json
_ROPE_THETA = ("global_rope_theta", "rope_global_theta", "rope_theta_global", "rope_theta", "rotary_emb_base")

_LOCAL_THETA = ("local_rope_theta", "rope_local_theta", "swa_rope_theta", "rope_local_base_freq")
_CONFIG_HINT = "it is damaged, or not the one that belongs to these weights; copy it from the base model"
_LARGEST_INTEGER = 2**31 - 1
_LARGEST_NUMBER = 3.4e38
_ROPE_NUMBERS = (
    "rope_theta",
    "local_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "attention_factor",
    "extrapolation_factor",
    "beta_fast",
    "beta_slow",
    "llama_4_scaling_beta",
    "mscale_all_dim",
)
_ROPE_LISTS = ("long_factor", "short_factor")
_ROPE_EXTRAS = {
    "partial_rotary_factor": ("partial_rotary_factor", "rotary_pct", "rope_pct"),
    "original_max_position_embeddings": ("original_max_position_embeddings",),
    "mrope_section": ("mrope_section",),
}


@dataclass(frozen=True)
class ModelConfig:
    """Normalised hyperparameters with typed access; a missing required one is an error, never a guess."""

    values: Mapping[str, Any]

    def get(self, *names: str) -> Any:
        """Return the first of `names` that is present and not null, or None."""
        return next((self.values[name] for name in names if self.values.get(name) is not None), None)

    def integer(self, *names: str) -> int:
        """Return a required whole number. Raise CheckpointError when it is missing or not one."""
        value = self.get(*names)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_INTEGER:
            raise self._missing(names, value, "a whole number")
        return value

    def number(self, *names: str) -> float:
        """Return a required number. Raise CheckpointError when it is missing or not one."""
        value = self.get(*names)
        if not _is_number(value):
            raise self._missing(names, value, "a number")
        return float(value)

    @property
    def rope(self) -> Mapping[str, Any]:
        rope: Mapping[str, Any] = self.values["rope"]
        return rope

    @property
    def layers(self) -> int:
        return self.integer("num_hidden_layers", "n_layers", "n_layer", "num_layers")

    @property
    def mtp_layers(self) -> int:
        """Return how many layers behind the last one predict further tokens and are kept."""
        kept: int = self.values.get(_MTP_LAYERS, 0)
        return kept

    @property
    def blocks(self) -> int:
        """Return how many layers the file has."""
        return self.layers + self.mtp_layers

    @property
    def heads(self) -> int:
        return self.integer(*_HEADS)

    @property
    def kv_heads(self) -> int:
        return self.heads if self.get("num_key_value_heads") is None else self.integer("num_key_value_heads")

    @property
    def head_size(self) -> int:
        """Return the width of one attention head: `head_dim`, or the hidden size shared out evenly."""
        if self.get("head_dim") is not None:
            return self.integer("head_dim")
        return self.hidden // self.heads

    def require(self, **values: Any) -> None:
        """Raise UnsupportedModelError where config.json says other than what the runtime computes with."""
        for name, value in values.items():
            given = self.get(name)
            if given is not None and given != value:
                raise UnsupportedModelError(
                    f"config.json: {name} is {given!r:.40}, but llama.cpp would compute with {value!r}"
                )

    def layer_numbers(self, name: str) -> list[int]:
        """Return the layers that an entry of config.json lists by number; none when there is no entry."""
        found = self.get(name) or []
        if not isinstance(found, list) or not all(isinstance(number, int) for number in found):
            raise self._missing((name,), found, "a list of layers")
        return found

    def positive(self, name: str) -> int:
        """Return a required whole number above zero. Raise CheckpointError when it is missing or not one."""
        value = self.integer(name)
        if value == 0:
            raise self._missing((name,), value, "above zero")
        return value

    def layer_types(self, default: Sequence[str] = ()) -> list[str]:
        """Return what kind each layer is; `default` when config.json does not say."""
        types = self.get("layer_types") or default
        is_list = isinstance(types, Sequence) and not isinstance(types, str)
        if not is_list or len(types) != self.layers or not all(isinstance(kind, str) for kind in types):
            raise CheckpointError(
                f"config.json: `layer_types` must name a kind for each of {self.layers} layers",
                hint=_CONFIG_HINT,
            )
        return list(types)

    @property
    def hidden(self) -> int:
        return self.integer("hidden_size", "n_embd")

    @property
    def rotary_size(self) -> int:
        """Return how many dimensions of a head are rotated: all of hidden size / heads, or a part."""
        share = float(self.rope.get("partial_rotary_factor", 1.0))
        return int(share * (self.hidden // self.heads))

    def _missing(self, names: Iterable[str], value: object, wanted: str) -> CheckpointError:
        names = " or ".join(f"`{name}`" for name in names)
        if value is None:
            return CheckpointError(
                f"config.json has no {names}, which this architecture needs", hint=_CONFIG_HINT
            )
        return CheckpointError(f"config.json: {names} must be {wanted}, not {value!r:.40}", hint=_CONFIG_HINT)


def with_mtp_layers(config: ModelConfig, count: int) -> ModelConfig:
    """Return the configuration of a model that keeps `count` layers for multi-token prediction."""
    return ModelConfig({**config.values, _MTP_LAYERS: count})


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a multimodal config.json says about its language model; empty for all others."""
    nested = (config.get(name) for name in _TEXT_CONFIGS)
    return next((value for value in nested if isinstance(value, Mapping)), {})


def _is_number(value: Any) -> bool:
    """Tell whether a value of config.json is a number that a float32 holds."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= _LARGEST_NUMBER


def normalise(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> ModelConfig:
    """Return the hyperparameters of config.json over the family's `defaults`."""
    merged = {**defaults, **{name: value for name, value in config.items() if value is not None}}
    merged.update({name: value for name, value in text_config(config).items() if value is not None})
    merged["rope"] = _rope(merged)
    merged[_MTP_LAYERS] = 0
    result = ModelConfig(merged)
    if result.get(*_HEADS) is not None:
        _check_heads(result)
    return result


def _check_heads(result: ModelConfig) -> None:
    """Raise CheckpointError where a model attends with numbers of heads that do not fit."""
    if result.heads == 0 or result.kv_heads == 0 or result.heads % result.kv_heads:
        raise CheckpointError(
            f"config.json: {result.heads} attention heads cannot share {result.kv_heads} key-value heads"
        )


def _rope(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Gather the rotary settings: theta, scaling type and its parameters."""
    given = merged.get("rope_parameters") or merged.get("rope_scaling") or {}
    if not isinstance(given, Mapping):
        raise CheckpointError("config.json: the rope settings are not an object", hint=_CONFIG_HINT)
    full = given.get("full_attention", given)
    rope = dict(full if isinstance(full, Mapping) else given)
    rope = {name: value for name, value in rope.items() if value is not None}
    if "rope_theta" not in rope:
        theta = next((merged[name] for name in _ROPE_THETA if merged.get(name) is not None), None)
        if theta is not None:
            rope["rope_theta"] = theta
    if "rope_type" not in rope and "type" in rope:
        rope["rope_type"] = rope["type"]
    for name, spellings in _ROPE_EXTRAS.items():
        value = next((merged[spelling] for spelling in spellings if merged.get(spelling) is not None), None)
        if name not in rope and value is not None:
            rope[name] = value
    local = next((merged[name] for name in _LOCAL_THETA if merged.get(name) is not None), None)
    sliding = given.get("sliding_attention")
    if isinstance(sliding, Mapping):
        local = sliding.get("rope_theta", local)
    if local is not None:
        rope["local_theta"] = local
    _check_rope(rope)
    return rope


def _check_rope(rope: Mapping[str, Any]) -> None:
    """Raise CheckpointError for a rotary setting of the wrong type."""
    for name in _ROPE_NUMBERS:
        value = rope.get(name)
        if value is not None and not (_is_number(value) and value > 0):
            raise CheckpointError(
                f"config.json: the rope setting `{name}` must be a number above zero, not {value!r:.40}",
                hint=_CONFIG_HINT,
            )
    for name in _ROPE_LISTS:
        values = rope.get(name)
        if values is not None and not (isinstance(values, list) and all(map(_is_number, values))):
            raise CheckpointError(
                f"config.json: the rope setting `{name}` must be a list of numbers", hint=_CONFIG_HINT
            )
