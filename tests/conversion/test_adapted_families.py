"""Adapters of families that move rows and columns: beside the model they compute what merged ones do."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.checkpoint import read_safetensors
from localllm.checkpoint.numbers import as_float32
from localllm.conversion.lora import convert_adapter
from localllm.errors import UnsupportedModelError
from tests.adapters.test_gguf_adapter import adapted_logits
from tests.adapters.tiny_adapters import TinyAdapter, adapter_tensors, write_tiny_adapter
from tests.conversion.logits import relative_difference, runtime_logits
from tests.conversion.tiny_llama import write_safetensors

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
MODULES: dict[str, tuple[str, ...]] = {
    "ministral3": _ATTENTION,
    "glm4": (*_ATTENTION, "gate_up_proj", "down_proj"),
    "lfm2": ("q_proj", "k_proj", "v_proj", "in_proj", "out_proj", "w1", "w2", "w3"),
    "granite4": (*_ATTENTION, "in_proj", "out_proj"),
    "granite4-dense": (*_ATTENTION, "input_linear", "output_linear"),
    "qwen3.5": (*_ATTENTION, "in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj", "down_proj"),
    "qwen3-next": (*_ATTENTION, "in_proj_qkvz", "in_proj_ba", "linear_attn.out_proj"),
    "qwen3-vl-moe": _ATTENTION,
    "gpt-oss": _ATTENTION,
    "granite4-moe": (*_ATTENTION, "shared_mlp.input_linear", "shared_mlp.output_linear"),
    "mamba2": ("in_proj", "out_proj"),
    "mamba2-codestral": ("in_proj", "out_proj", "embeddings", "lm_head"),
    "deepseek2": ("o_proj", "gate_proj", "up_proj", "down_proj"),
    "deepseek3": ("o_proj", "down_proj", "embed_tokens"),
    "gemma4": (*_ATTENTION, *_FEED_FORWARD),
    "gemma4-ple": (*_ATTENTION, *_FEED_FORWARD, "per_layer_input_gate", "per_layer_projection"),
    "gemma4-moe": (*_ATTENTION, *_FEED_FORWARD),
    "llama4": _ATTENTION,
}


@pytest.mark.parametrize("name", MODULES)
def test_it_computes_what_the_merged_model_computes(name: str, tmp_path: Path) -> None:
    adapter = TinyAdapter(MODULES[name], family=name)
    base = adapter.write_base(tmp_path / "base")
    directory = write_tiny_adapter(tmp_path / "adapter", adapter)
    merged = runtime_logits(base, adapters=(directory,))
    assert relative_difference(adapted_logits(base, directory, tmp_path), merged) < 1e-3
    assert relative_difference(runtime_logits(base), merged) > 0.01  # it changes something


@pytest.mark.parametrize("module", ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "lm_head"])
def test_where_llama_cpp_uses_no_adapter_it_has_to_be_merged(module: str, tmp_path: Path) -> None:
    """It would say nothing, and answer as if there were none."""
    adapter = TinyAdapter((module,), family="deepseek3")
    base = adapter.write_base(tmp_path / "base")
    directory = write_tiny_adapter(tmp_path / "adapter", adapter)
    with pytest.raises(
        UnsupportedModelError, match=f"{module}.weight`, where llama.cpp would not use it"
    ) as caught:
        convert_adapter(directory, base, output=tmp_path / "a.gguf")
    assert "localllm merge" in str(caught.value.hint)


def test_merged_latent_attention_is_the_sum_of_both(tmp_path: Path) -> None:
    adapter = TinyAdapter(("kv_b_proj", "kv_a_proj_with_mqa"), family="deepseek2")
    base = adapter.write_base(tmp_path / "base")
    directory = write_tiny_adapter(tmp_path / "adapter", adapter)
    merged = runtime_logits(base, adapters=(directory,))
    factors = adapter_tensors(adapter)
    tensors = {tensor.name: tensor for tensor in read_safetensors(base / "model.safetensors")}
    sums = {name: as_float32(tensor.read_array(), tensor.dtype) for name, tensor in tensors.items()}
    for name in [name for name in factors if name.endswith("lora_A.weight")]:
        module = name.removesuffix(".lora_A.weight")
        product = factors[f"{module}.lora_B.weight"] @ factors[name]
        sums[f"{module}.weight"] = sums[f"{module}.weight"] + 3 * product  # alpha 12, rank 4
    write_safetensors(base / "model.safetensors", {name: ("F32", values) for name, values in sums.items()})
    assert relative_difference(merged, runtime_logits(base)) < 1e-5
