"""Merged adapters: what PEFT computes with them, for every kind, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from localllm.adapters import merged, open_adapter
from localllm.checkpoint import open_checkpoint
from localllm.errors import CheckpointError, LocalLLMError, UnsupportedModelError, UsageError
from tests.adapters.merging import differences
from tests.adapters.tiny_adapters import (
    ADAPTERS,
    PLAIN,
    TinyAdapter,
    adapter_tensors,
    write_tiny_adapter,
)
from tests.conversion.tiny_llama import cast, edit_json, write_safetensors

# llama.cpp looks GELU up in a table of 16-bit values
_USES_GELU = ("gpt2", "gpt2-dora", "gpt-neox", "gemma3")


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_merged_model_computes_what_peft_computes(name: str, tmp_path: Path) -> None:
    logits, weights = differences(name, tmp_path)
    assert logits < (2e-3 if name in _USES_GELU else 2e-5)
    if ADAPTERS[name].merges_like_peft:
        assert weights < 1e-6


def test_scale_multiplies_the_adapters_own(tmp_path: Path) -> None:
    base, adapter = _pair(tmp_path, PLAIN)
    whole, half = (_delta(base, adapter, scale) for scale in (1.0, 0.5))
    assert np.abs(whole).max() > 0.1
    np.testing.assert_allclose(half * 2, whole, rtol=0, atol=1e-6)


def test_two_adapters_add_up(tmp_path: Path) -> None:
    base, first = _pair(tmp_path, PLAIN)
    second = write_tiny_adapter(tmp_path / "second", PLAIN, "another seed")
    both = merged(merged(open_checkpoint(base), open_adapter(first)), open_adapter(second))
    name = "model.layers.0.self_attn.q_proj.weight"
    expected = open_checkpoint(base).tensors[name].read_array()
    expected = expected + _delta(base, first, 1.0) + _delta(base, second, 1.0)
    np.testing.assert_allclose(both.tensors[name].read_array(), expected, rtol=0, atol=1e-6)


def test_names_wrapped_twice_and_the_adapters_name_left_in(tmp_path: Path) -> None:
    base, plain = _pair(tmp_path, PLAIN)
    renamed = {
        f"base_model.model.base_model.model.{name.replace('.weight', '.default.weight')}": ("F32", values)
        for name, values in adapter_tensors(PLAIN).items()
    }
    wrapped = write_tiny_adapter(tmp_path / "wrapped", PLAIN)
    write_safetensors(wrapped / "adapter_model.safetensors", renamed)
    assert np.array_equal(_delta(base, wrapped, 1.0), _delta(base, plain, 1.0))


def test_mlx_adapters_are_transposed_and_name_their_scale(tmp_path: Path) -> None:
    base, plain = _pair(tmp_path, PLAIN)
    mlx = tmp_path / "mlx"
    mlx.mkdir()
    settings = {"model": "base", "num_layers": 2, "lora_parameters": {"rank": 4, "scale": 3.0}}
    (mlx / "adapter_config.json").write_text(json.dumps(settings))
    tensors = {
        name.replace("lora_A.weight", "lora_a").replace("lora_B.weight", "lora_b"): (
            "F32",
            np.ascontiguousarray(values.T),
        )
        for name, values in adapter_tensors(PLAIN).items()
    }
    write_safetensors(mlx / "adapters.safetensors", tensors)
    np.testing.assert_allclose(_delta(base, mlx, 1.0), _delta(base, plain, 1.0), rtol=0, atol=1e-6)


def test_a_longer_embedding_brings_new_tokens_on_both_sides_of_a_tie(tmp_path: Path) -> None:
    rows = {"model.embed_tokens.weight": (300, 64)}
    longer = TinyAdapter(("v_proj",), {"modules_to_save": ["embed_tokens"]}, tied=True, saved=rows)
    base, adapter = _pair(tmp_path, longer)
    result = merged(open_checkpoint(base), open_adapter(adapter))
    assert result.tensors["model.embed_tokens.weight"].shape == (300, 64)
    assert "lm_head.weight" not in result.tensors
    assert result.config["tie_word_embeddings"] is True


def test_the_adapters_tokenizer_comes_first(tmp_path: Path) -> None:
    base, adapter = _pair(tmp_path, PLAIN)
    (adapter / "chat_template.jinja").write_text("from the adapter")
    result = merged(open_checkpoint(base), open_adapter(adapter))
    assert result.text("chat_template.jinja") == "from the adapter"
    assert result.file("tokenizer.json") == base / "tokenizer.json"


REFUSED = {
    "prefix tuning": ({"peft_type": "PREFIX_TUNING"}, UnsupportedModelError, "is a PREFIX_TUNING adapter"),
    "a classifier": ({"task_type": "SEQ_CLS"}, UnsupportedModelError, "trained for SEQ_CLS"),
    "pissa": ({"init_lora_weights": "pissa_niter_4"}, UnsupportedModelError, "changed the base weights"),
    "repeated layers": ({"layer_replication": [[0, 2]]}, UnsupportedModelError, "repeats layers"),
    "another rank": ({"r": 16}, CheckpointError, "the rank 16, its weights have rank 4"),
    "no alpha": ({"lora_alpha": None}, CheckpointError, "lora_alpha must be a number, not None"),
    "alpha in words": ({"lora_alpha": "high"}, CheckpointError, "must be a number, not 'high'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_config_that_is_refused(name: str, tmp_path: Path) -> None:
    changes, kind, message = REFUSED[name]
    base, adapter = _pair(tmp_path, PLAIN)
    edit_json(adapter / "adapter_config.json", **changes)
    with pytest.raises(kind, match=message):
        merged(open_checkpoint(base), open_adapter(adapter))


def _without(adapter: Path, ending: str) -> None:
    kept = {n: v for n, v in adapter_tensors(PLAIN).items() if not n.endswith(ending)}
    _write(adapter, kept)


def _write(adapter: Path, tensors: dict[str, np.ndarray]) -> None:
    encoded = {f"base_model.model.{name}": ("F32", cast(values, "F32")) for name, values in tensors.items()}
    write_safetensors(adapter / "adapter_model.safetensors", encoded)


def _renamed(adapter: Path) -> None:
    _write(adapter, {n.replace("layers.1", "layers.7"): v for n, v in adapter_tensors(PLAIN).items()})


def _narrow(adapter: Path) -> None:
    narrow = {n: v[:, :32] if "lora_A" in n else v for n, v in adapter_tensors(PLAIN).items()}
    _write(adapter, narrow)


def _pickled(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")


BROKEN = {
    "half a pair": (lambda a: _without(a, "q_proj.lora_B.weight"), "lora_A or lora_B is missing"),
    "another base": (_renamed, "which the base model does not have"),
    "another width": (_narrow, r"is \[.*\], the base's is \["),
    "pickled": (_pickled, "only pickled weights"),
    "zero-3": (lambda a: _write(a, {"q_proj.lora_A.weight": np.zeros(0, np.float32)}), "as DeepSpeed ZeRO-3"),
    "nothing": (lambda a: _write(a, {}), "holds no LoRA weights"),
    "something else": (lambda a: _write(a, {"q_proj.hada_w1_a": np.zeros((2, 2))}), "is not part of a LoRA"),
    "no weights": (lambda a: (a / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_weights_that_are_refused(name: str, tmp_path: Path) -> None:
    break_it, message = BROKEN[name]
    base, adapter = _pair(tmp_path, PLAIN)
    break_it(adapter)
    with pytest.raises(LocalLLMError, match=message):
        merged(open_checkpoint(base), open_adapter(adapter))


def test_what_replaces_weights_cannot_be_scaled(tmp_path: Path) -> None:
    base, adapter = _pair(tmp_path, ADAPTERS["dora"])
    with pytest.raises(UsageError, match=r"cannot be merged at scale 0\.5"):
        merged(open_checkpoint(base), open_adapter(adapter), 0.5)


def _pair(place: Path, adapter: TinyAdapter) -> tuple[Path, Path]:
    return adapter.write_base(place / "base"), write_tiny_adapter(place / "adapter", adapter)


def _delta(base: Path, adapter: Path, scale: float) -> np.ndarray:
    name = "model.layers.0.self_attn.q_proj.weight"
    plain = open_checkpoint(base)
    changed = merged(plain, open_adapter(adapter), scale).tensors[name].read_array()
    return changed - plain.tensors[name].read_array()
