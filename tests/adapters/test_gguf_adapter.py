"""GGUF adapters: beside its base in llama.cpp, one computes what the merged model computes."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from localllm.conversion.convert import convert
from localllm.conversion.lora import convert_adapter
from localllm.conversion.out_type import OutType
from localllm.errors import CheckpointError, UnsupportedModelError, UsageError
from localllm.gguf_file import read_header
from localllm.native.context import Context
from localllm.native.library import llama
from localllm.native.model import Model
from tests.adapters.tiny_adapters import ADAPTERS, PLAIN, TinyAdapter, write_tiny_adapter
from tests.conversion.logits import TOKENS, relative_difference, runtime_logits
from tests.conversion.tiny_llama import edit_json

# What a GGUF adapter can hold. Experts: merging adds before, the adapter after their rows are chosen.
KINDS = (
    "plain",
    "bf16",
    "rslora",
    "patterns",
    "embedding",
    "gpt2",
    "gpt-neox",
    "phi3",
    "qwen2-moe",
    "gemma3",
)
REFUSED = {
    "dora": "is DoRA or has biases",
    "lora-bias": "is DoRA or has biases",
    "saved": "replaces `",
    "tokens": "replaces `",
    "tied-head": "output head, which in this model is the token embedding",
    "tied-embedding": "token embedding, which in this model is the output head",
}


def adapted_logits(base: Path, adapter: Path, folder: Path, scale: float = 1.0) -> NDArray[np.float32]:
    """Run TOKENS through the unmerged base with the adapter's GGUF file; shape (positions, vocabulary)."""
    model_path = convert(base, output=folder / "base.gguf", out_type=OutType.F32).path
    adapter_path = convert_adapter(adapter, base, output=folder / "adapter.gguf").path
    library = llama()
    with Model(model_path) as model:
        handle = library.llama_adapter_lora_init(model.handle, str(adapter_path).encode())
        assert handle, "llama.cpp refuses the adapter"
        with Context(model, context_size=64, threads=1, exact=True) as context:
            adapters = (library.llama_adapter_lora_p_ctypes * 1)(handle)
            scales = (ctypes.c_float * 1)(scale)
            assert library.llama_set_adapters_lora(context.handle, adapters, 1, scales) == 0
            context.decode(TOKENS, start=0, logits_from=0)
            return np.array(context.kept_logits(len(TOKENS)))


@pytest.mark.parametrize("name", KINDS)
def test_it_computes_what_the_merged_model_computes(name: str, tmp_path: Path) -> None:
    base, adapter = _pair(tmp_path, ADAPTERS[name])
    merged = runtime_logits(base, adapters=(adapter,))
    assert relative_difference(adapted_logits(base, adapter, tmp_path), merged) < 1e-3
    assert relative_difference(runtime_logits(base), merged) > 0.05  # it changes something


def test_it_is_scaled_when_it_is_used(tmp_path: Path) -> None:
    base, adapter = _pair(tmp_path, PLAIN)
    unscaled = adapted_logits(base, adapter, tmp_path, scale=0.0)
    assert relative_difference(unscaled, runtime_logits(base)) < 1e-6


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    base, adapter = _pair(tmp_path, PLAIN)
    result = convert_adapter(adapter, base, output=tmp_path / "a.gguf", out_type=OutType.F16, name="mine")
    header = read_header(result.path)
    assert (header.text("general.type"), header.text("adapter.type")) == ("adapter", "lora")
    assert header.number("adapter.lora.alpha") == 0.0
    assert header.text("general.name") == "mine"
    assert header.text("general.base_model.0.name") == "base"
    assert {tensor.type.name for tensor in header.tensors} == {"F16"}
    assert result.level == "F16"


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_more_than_a_product_is_refused(name: str, tmp_path: Path) -> None:
    base, adapter = _pair(tmp_path, ADAPTERS[name])
    with pytest.raises(UnsupportedModelError, match=REFUSED[name]) as raised:
        convert_adapter(adapter, base, output=tmp_path / "a.gguf")
    assert "localllm merge" in str(raised.value.hint)
    assert not list(tmp_path.glob("*a.gguf*"))


def test_what_config_json_leaves_out_is_tied(tmp_path: Path) -> None:
    """As transformers saves Gemma. llama.cpp would die of such an adapter."""
    base, adapter = _pair(tmp_path, ADAPTERS["tied-embedding"])
    edit_json(base / "config.json", tie_word_embeddings=None)
    with pytest.raises(UnsupportedModelError, match=REFUSED["tied-embedding"]):
        convert_adapter(adapter, base, output=tmp_path / "a.gguf")


def test_another_base_is_refused(tmp_path: Path) -> None:
    base, adapter = _pair(tmp_path, PLAIN)
    edit_json(base / "config.json", num_key_value_heads=4)
    with pytest.raises(CheckpointError, match="the base's"):
        convert_adapter(adapter, base, output=tmp_path / "a.gguf")


def test_blocks_of_32_are_refused(tmp_path: Path) -> None:
    base, adapter = _pair(tmp_path, PLAIN)
    with pytest.raises(UsageError, match="cannot be stored as q8_0"):
        convert_adapter(adapter, base, output=tmp_path / "a.gguf", out_type=OutType.Q8_0)


def _pair(place: Path, adapter: TinyAdapter) -> tuple[Path, Path]:
    return adapter.write_base(place / "base"), write_tiny_adapter(place / "adapter", adapter)
