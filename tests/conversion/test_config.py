"""config.json in every spelling becomes the same hyperparameters; what is missing is named."""

from __future__ import annotations

from typing import Any

import pytest

from localllm.conversion.config import ModelConfig, normalise
from localllm.errors import CheckpointError
from tests.conversion.tiny_llama import LLAMA3_ROPE, TinyLlama, tiny_config

MINIMAL = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}


def of(**changes: Any) -> ModelConfig:
    return normalise({**MINIMAL, **changes}, {})


@pytest.mark.parametrize("rope", [None, LLAMA3_ROPE])
def test_both_spellings_of_transformers_mean_the_same(rope: dict[str, Any] | None) -> None:
    old, new = (normalise(tiny_config(TinyLlama(rope=rope, transformers=v)), {}).rope for v in (4, 5))
    assert old.get("rope_type", "default") == new["rope_type"]
    assert {**old, "rope_type": new["rope_type"]} == new


def test_defaults_fill_what_is_missing_or_null() -> None:
    config = normalise(
        {**MINIMAL, "rms_norm_eps": None, "vocab_size": 7}, {"rms_norm_eps": 1e-6, "vocab_size": 9}
    )
    assert config.number("rms_norm_eps") == 1e-6
    assert config.integer("vocab_size") == 7


@pytest.mark.parametrize("name", ["text_config", "llm_config", "language_config"])
def test_a_nested_text_model_wins_over_the_root(name: str) -> None:
    config = of(**{name: {"num_hidden_layers": 5, "hidden_size": 128, "vocab_size": None}}, vocab_size=3)
    assert (config.layers, config.integer("hidden_size"), config.integer("vocab_size")) == (5, 128, 3)


@pytest.mark.parametrize("name", ["num_hidden_layers", "n_layers", "n_layer", "num_layers"])
def test_layers_by_any_name(name: str) -> None:
    assert normalise({"num_attention_heads": 1, name: 6}, {}).layers == 6


def test_head_size_is_stated_or_shared_out() -> None:
    assert of().head_size == 16
    assert of(head_dim=32).head_size == 32


def test_every_head_has_its_own_keys_unless_config_says_otherwise() -> None:
    assert of().kv_heads == 4
    assert of(num_key_value_heads=2).kv_heads == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 2.0},
                "sliding_attention": {},
            }
        },
    ],
)
def test_rope_scaling_wherever_it_is(changes: dict[str, Any]) -> None:
    rope = of(**changes, rope_theta=123.0).rope
    assert (rope["rope_type"], rope["factor"], rope["rope_theta"]) == ("linear", 2.0, 123.0)


def test_the_nearer_theta_wins() -> None:
    assert of(rope_theta=1.0, rope_parameters={"rope_theta": 2.0}).rope["rope_theta"] == 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": "4"}, "must be a whole number, not '4'"),
        ({"num_attention_heads": True}, "must be a whole number, not True"),
        ({"num_attention_heads": -4}, "must be a whole number, not -4"),
        ({"num_attention_heads": 0}, "0 attention heads cannot share"),
        ({"num_key_value_heads": 0}, "cannot share 0 key-value heads"),
        ({"num_key_value_heads": 3}, "4 attention heads cannot share 3"),
        ({"rope_scaling": "linear"}, "rope settings are not an object"),
    ],
)
def test_nonsense_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        of(**changes)


def test_heads_are_missed_by_those_who_ask_for_them() -> None:
    """Models with states alone have none."""
    config = of(num_attention_heads=None)
    with pytest.raises(CheckpointError, match="no `num_attention_heads`"):
        _ = config.heads


@pytest.mark.parametrize("value", ["1e-5", True, [1]])
def test_numbers_are_numbers(value: object) -> None:
    with pytest.raises(CheckpointError, match="`rms_norm_eps` must be a number"):
        of(rms_norm_eps=value).number("rms_norm_eps")
