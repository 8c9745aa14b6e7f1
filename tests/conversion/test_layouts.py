"""One model, saved in different ways: the GGUF file is the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localllm.checkpoint import open_checkpoint
from localllm.conversion.convert import convert
from localllm.conversion.out_type import OutType
from localllm.errors import CheckpointError
from localllm.events import Emit, Event, Notice
from tests.conversion.eight_bits import write_eight_bits
from tests.conversion.parity import Digest, digest
from tests.conversion.tiny_families import write_tiny_family
from tests.conversion.tiny_llama import (
    Tensors,
    TinyLlama,
    edit_json,
    write_weights,
)

EXPERT_NAMES = {
    "mixtral": ("block_sparse_moe", ("w1", "w3"), "w2"),
    "qwen2-moe": ("mlp", ("gate_proj", "up_proj"), "down_proj"),
    "qwen3-moe": ("mlp", ("gate_proj", "up_proj"), "down_proj"),
    "qwen3-next": ("mlp", ("gate_proj", "up_proj"), "down_proj"),
    "qwen3.5-moe": ("mlp", ("gate_proj", "up_proj"), "down_proj"),
}
NAME = "same-name"


def read_weights(directory: Path) -> tuple[Tensors, str]:
    """Return the stored arrays, bfloat16 widened, and their dtype."""
    tensors: Tensors = {}
    dtype = "F32"
    for name, tensor in open_checkpoint(directory).tensors.items():
        values, dtype = tensor.read_array(), tensor.dtype
        if dtype == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = values.astype(np.float32)
    return tensors, dtype


def converted(directory: Path, output: Path) -> Digest:
    convert(directory, output=output, out_type=OutType.Q8_0, name=NAME)
    return digest(output)


def fused(tensors: Tensors, block: str, halves: tuple[str, str], down: str) -> Tensors:
    """Return the experts as transformers 5 keeps them: two tensors a layer for all experts."""
    result = {name: values for name, values in tensors.items() if ".experts." not in name}
    layers = {name.split(".")[2] for name in tensors if ".experts." in name}
    for layer in layers:
        prefix = f"model.layers.{layer}.{block}.experts"
        count = sum(name.startswith(prefix) and name.endswith(f"{down}.weight") for name in tensors)
        parts = [[tensors[f"{prefix}.{e}.{half}.weight"] for half in halves] for e in range(count)]
        new = f"model.layers.{layer}.mlp.experts"
        result[f"{new}.gate_up_proj"] = np.stack([np.concatenate(pair) for pair in parts])
        result[f"{new}.down_proj"] = np.stack([tensors[f"{prefix}.{e}.{down}.weight"] for e in range(count)])
    return {name.replace("block_sparse_moe.gate", "mlp.gate"): values for name, values in result.items()}


@pytest.mark.parametrize("family", EXPERT_NAMES)
def test_fused_experts(family: str, tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / family, family)
    expected = converted(directory, tmp_path / "separate.gguf")
    tensors, dtype = read_weights(directory)
    write_weights(directory, fused(tensors, *EXPERT_NAMES[family]), TinyLlama(dtype))
    assert converted(directory, tmp_path / "fused.gguf") == expected


@pytest.mark.parametrize("family", ["qwen2", "qwen3-moe", "granite", "gemma2", "stablelm", "phi3-long"])
def test_the_spelling_of_transformers_5(family: str, tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / family, family)
    expected = converted(directory, tmp_path / "four.gguf")
    config = json.loads((directory / "config.json").read_text())
    scaling = dict(config.pop("rope_scaling", None) or {"rope_type": "default"})
    scaling["rope_type"] = scaling.pop("type", scaling.get("rope_type"))
    rope: dict[str, Any] = {"rope_theta": config.pop("rope_theta"), **scaling}
    if family == "stablelm":
        rope["partial_rotary_factor"] = 0.25
    changes = {"rope_theta": None, "rope_scaling": None, "torch_dtype": None}
    edit_json(directory / "config.json", **changes, rope_parameters=rope, dtype="float32")
    assert converted(directory, tmp_path / "five.gguf") == expected


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model."])
def test_the_language_model_of_a_multimodal_checkpoint(prefix: str, tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / "gemma3", "gemma3")
    expected = converted(directory, tmp_path / "text.gguf")
    config = json.loads((directory / "config.json").read_text())
    outer = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {key: value for key, value in config.items() if key != "architectures"},
        "vision_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    }
    (directory / "config.json").write_text(json.dumps(outer))
    tensors, dtype = read_weights(directory)
    nested = {name.replace("model.", prefix, 1): values for name, values in tensors.items()}
    nested["vision_tower.vision_model.embeddings.patch_embedding.weight"] = np.ones((4, 4), np.float32)
    nested["multi_modal_projector.mm_input_projection_weight"] = np.ones((4, 4), np.float32)
    write_weights(directory, nested, TinyLlama(dtype))
    assert converted(directory, tmp_path / "nested.gguf") == expected


def test_experts_with_rows_as_columns_or_not(tmp_path: Path) -> None:
    """transformers 4 and 5 save them under the same names; the reference's file of 5's does not load."""
    directory = write_tiny_family(tmp_path / "qwen3-vl-moe", "qwen3-vl-moe")
    expected = converted(directory, tmp_path / "four.gguf")
    tensors, dtype = read_weights(directory)
    plain = {
        name: values.swapaxes(1, 2) if ".experts." in name else values for name, values in tensors.items()
    }
    assert any(plain[name].shape != tensors[name].shape for name in tensors)
    write_weights(directory, plain, TinyLlama(dtype))
    assert converted(directory, tmp_path / "five.gguf") == expected


def test_transformers_5_calls_the_layers_of_granite_4_otherwise(tmp_path: Path) -> None:
    """The reference takes them all for Mamba layers then, and llama.cpp does not load its file."""
    directory = write_tiny_family(tmp_path / "granite4", "granite4")
    expected = converted(directory, tmp_path / "four.gguf")
    types = ["linear_attention", "full_attention", "linear_attention"]
    edit_json(directory / "config.json", layer_types=types)
    assert converted(directory, tmp_path / "five.gguf") == expected


def test_layers_that_predict_further_tokens_are_left_out(tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / "glm4-moe", "glm4-moe")
    expected = converted(directory, tmp_path / "without.gguf")
    tensors, dtype = read_weights(directory)
    layer = {name: values for name, values in tensors.items() if ".layers.2." in name}
    tensors |= {name.replace(".2.", ".3.", 1): values for name, values in layer.items()}
    tensors["model.layers.3.eh_proj.weight"] = np.ones((64, 128), np.float32)
    write_weights(directory, tensors, TinyLlama(dtype))
    notices = [
        event
        for event in emitted(lambda emit: convert(directory, output=tmp_path / "x.gguf", emit=emit))
        if isinstance(event, Notice) and event.topic == "left-out"
    ]
    assert [notice.message for notice in notices] == [
        "left out `model.layers.3.eh_proj.weight`: one of 29 tensors that predict further tokens, "
        "for speculation; `--keep-mtp` keeps them"
    ]
    assert converted(directory, tmp_path / "with.gguf") == expected


def emitted(action: Callable[[Emit], object]) -> list[Event]:
    events: list[Event] = []
    action(events.append)
    return events


@pytest.mark.parametrize("activations", [True, False])
def test_mistral_small_in_eight_bits(activations: bool, tmp_path: Path) -> None:
    """One scale for each matrix, and one for its inputs, which is of no use here."""
    directory = write_tiny_family(tmp_path / "ministral3", "ministral3")
    plain = write_eight_bits(directory, *read_weights(directory), block=None, activations=activations)
    found = converted_as(OutType.F32, directory, tmp_path / "fp8.gguf")
    assert found["tensors"] == unquantized(directory, plain, tmp_path)["tensors"]


def unquantized(directory: Path, tensors: Tensors, tmp_path: Path) -> Digest:
    """Return the digest of the same model with `tensors` of 32 bits."""
    edit_json(directory / "config.json", quantization_config=None)
    write_weights(directory, tensors, TinyLlama("F32"))
    return converted_as(OutType.F32, directory, tmp_path / "plain.gguf")


def converted_as(kind: OutType, directory: Path, output: Path) -> Digest:
    convert(directory, output=output, out_type=kind, name=NAME)
    return digest(output)


def test_ministral_inside_a_model_that_sees(tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / "ministral3", "ministral3")
    expected = converted(directory, tmp_path / "text.gguf")
    config = json.loads((directory / "config.json").read_text())
    outer = {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "model_type": "mistral3",
        "text_config": {key: value for key, value in config.items() if key != "architectures"},
    }
    (directory / "config.json").write_text(json.dumps(outer))
    tensors, dtype = read_weights(directory)
    nested = {name.replace("model.", "model.language_model.", 1): values for name, values in tensors.items()}
    nested["model.multi_modal_projector.norm.weight"] = np.ones(4, np.float32)
    write_weights(directory, nested, TinyLlama(dtype))
    assert converted(directory, tmp_path / "nested.gguf") == expected


def test_old_configurations_of_lfm2_list_the_layers_that_attend(tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / "lfm2", "lfm2")
    expected = converted(directory, tmp_path / "old.gguf")
    types = ["conv", "full_attention"] * 2
    edit_json(directory / "config.json", full_attn_idxs=None, layer_types=types)
    assert converted(directory, tmp_path / "new.gguf") == expected


def test_a_missing_expert_is_an_error(tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / "mixtral", "mixtral")
    tensors, dtype = read_weights(directory)
    del tensors["model.layers.1.block_sparse_moe.experts.2.w3.weight"]
    write_weights(directory, tensors, TinyLlama(dtype))
    with pytest.raises(CheckpointError, match=r"part 2 of `.*layers\.1.*experts\.w3\.weight` is missing"):
        converted(directory, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()
