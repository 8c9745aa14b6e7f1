"""Which `llama.*` keys a configuration becomes, and which rope scalings are refused."""

from __future__ import annotations

from typing import Any

import pytest
from inline_snapshot import snapshot

from localllm.conversion.config import normalise
from localllm.conversion.families.llama import LLAMA
from localllm.conversion.families.mistral import MISTRAL
from localllm.conversion.keys import by_layer, encode_keys, rope_scaling
from localllm.errors import CheckpointError, UnsupportedModelError
from localllm.gguf_file.format import ValueType
from tests.conversion.tiny_llama import LLAMA3_ROPE, tiny_config


def keys(**changes: Any) -> dict[str, tuple[str, Any]]:
    config = {key: value for key, value in {**tiny_config(), **changes}.items() if value is not None}
    encoded = encode_keys("llama", LLAMA.keys, normalise(config, LLAMA.defaults))
    return {key: (value.type.name, value.value) for key, value in encoded.items()}


def scaling(rope: dict[str, Any], **changes: Any) -> dict[str, Any]:
    config = normalise({**tiny_config(), "rope_scaling": rope, **changes}, {})
    return {suffix: value.value for suffix, value in rope_scaling(config)}


def test_all_keys_of_a_llama() -> None:
    assert keys() == snapshot(
        {
            "llama.block_count": ("UINT32", 2),
            "llama.context_length": ("UINT32", 512),
            "llama.embedding_length": ("UINT32", 64),
            "llama.feed_forward_length": ("UINT32", 96),
            "llama.attention.head_count": ("UINT32", 4),
            "llama.attention.head_count_kv": ("UINT32", 2),
            "llama.attention.layer_norm_rms_epsilon": ("FLOAT32", 1e-05),
            "llama.rope.freq_base": ("FLOAT32", 50000.0),
            "llama.attention.key_length": ("UINT32", 32),
            "llama.attention.value_length": ("UINT32", 32),
            "llama.vocab_size": ("UINT32", 288),
            "llama.rope.dimension_count": ("UINT32", 32),
        }
    )


def test_defaults_are_those_of_transformers() -> None:
    found = keys(max_position_embeddings=None, rms_norm_eps=None, rope_theta=None)
    assert found["llama.context_length"] == ("UINT32", 2048)
    assert found["llama.attention.layer_norm_rms_epsilon"] == ("FLOAT32", 1e-6)
    assert found["llama.rope.freq_base"] == ("FLOAT32", 10000.0)
    assert MISTRAL.defaults["num_key_value_heads"] == 8


@pytest.mark.parametrize("name", ["hidden_size", "intermediate_size", "num_hidden_layers"])
def test_a_missing_requirement_is_named(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"config.json has no .*`{name}`"):
        keys(**{name: None})


def test_no_scaling_no_keys() -> None:
    assert scaling({"rope_type": "default"}) == {}
    assert scaling(LLAMA3_ROPE) == {}


def test_linear_scaling() -> None:
    assert scaling({"type": "linear", "factor": 4}) == {
        "rope.scaling.type": "linear",
        "rope.scaling.factor": 4.0,
    }


def test_yarn_scaling() -> None:
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 32}
    assert scaling(rope) == {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 128,
        "rope.scaling.yarn_beta_fast": 32.0,
    }


def test_the_original_context_may_stand_beside_the_rope_settings() -> None:
    found = scaling({"rope_type": "yarn", "factor": 2.0}, original_max_position_embeddings=64)
    assert found["rope.scaling.original_context_length"] == 64


@pytest.mark.parametrize("kind", ["dynamic", "longrope", "surprise"])
def test_scaling_the_runtime_would_ignore_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedModelError, match=kind):
        scaling({"rope_type": kind, "factor": 2.0})


@pytest.mark.parametrize(
    ("rope", "missing"),
    [
        ({"rope_type": "linear"}, "factor"),
        ({"rope_type": "yarn", "factor": 2.0}, "original_max_position_embeddings"),
    ],
)
def test_incomplete_scaling_is_refused(rope: dict[str, Any], missing: str) -> None:
    with pytest.raises(CheckpointError, match=missing):
        scaling(rope)


@pytest.mark.parametrize(
    ("numbers", "written"), [([2, 2], (ValueType.UINT32, 2)), ([2, 1], (ValueType.ARRAY, [2, 1]))]
)
def test_a_number_for_each_layer_or_for_all(numbers: list[int], written: tuple[ValueType, Any]) -> None:
    config = normalise(tiny_config(), {})
    [value] = encode_keys("x", by_layer("heads", lambda _: numbers), config).values()
    assert (value.type, value.value) == written
