"""Adapters people published: those of a supported family become GGUF adapters, the others say why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localllm.adapters import open_adapter
from localllm.conversion.lora import convert_adapter
from localllm.errors import LocalLLMError
from localllm.gguf_file import read_header

# What config.json of the base models says about shapes.
_QWEN = {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
_GEMMA = {
    "architectures": ["Gemma3ForCausalLM"],
    "hidden_size": 640,
    "intermediate_size": 2048,
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "vocab_size": 262144,
    "tie_word_embeddings": True,
}
_GPT2 = {
    "architectures": ["GPT2LMHeadModel"],
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_ctx": 1024,
    "vocab_size": 50257,
}
_LLAMA3 = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
CONVERTED: dict[str, tuple[dict[str, Any], int, str]] = {
    "qwen2.5-lora": (_QWEN, 96, "qwen2"),
    "gemma-logo": (_GEMMA, 72, "gemma3"),
    "gpt2-car-info": (_GPT2, 72, "gpt2"),
    "gpt2-pseudo-to-code": (_GPT2, 72, "gpt2"),
    "discollama-mlx-ollama": (_LLAMA3, 8, "llama"),
}
REFUSED = {
    "bert-gpt2-multitask": "trained for SEQ_CLS",
    "bloom-lora-bin": "only pickled weights",
    "chatglm-adapter-bin": "is a PREFIX_TUNING adapter",
    "deepseek-coder-zero3-empty": "as DeepSpeed ZeRO-3 leaves",
    "gpt2-peft-anirudh": "trained for SEQ_CLS",
}


@pytest.mark.parametrize("name", CONVERTED)
def test_it_converts(name: str, material: Path, tmp_path: Path) -> None:
    config, tensors, arch = CONVERTED[name]
    base = _base(tmp_path, config)
    result = convert_adapter(material / "lora" / name, base, output=tmp_path / "adapter.gguf")
    header = read_header(result.path)
    assert (len(header.tensors), header.architecture) == (tensors, arch)
    names = {tensor.name.rpartition(".")[0] for tensor in header.tensors}
    assert len(names) == tensors // 2  # an A and a B each


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str, material: Path) -> None:
    with pytest.raises(LocalLLMError, match=REFUSED[name]) as raised:
        open_adapter(material / "lora" / name)
    assert "\n" not in raised.value.message


def test_an_architecture_without_a_table_is_refused(material: Path, tmp_path: Path) -> None:
    base = _base(tmp_path, {"architectures": ["OPTForCausalLM"]})
    with pytest.raises(LocalLLMError, match="OPTForCausalLM"):
        convert_adapter(material / "lora" / "lab_08", base, output=tmp_path / "adapter.gguf")


def test_whole_embeddings_are_refused_with_the_way_out(material: Path, tmp_path: Path) -> None:
    adapter = material / "lora" / "tuned_llama_with_added_tokens"
    with pytest.raises(LocalLLMError, match="replaces `") as raised:
        convert_adapter(adapter, _base(tmp_path, _LLAMA3), output=tmp_path / "adapter.gguf")
    assert "localllm merge" in str(raised.value.hint)


def _base(place: Path, config: dict[str, Any]) -> Path:
    base = place / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps(config))
    return base
