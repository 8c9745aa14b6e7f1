"""One model of DeepSeek, Mamba or Granite, saved in different ways: the GGUF file is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localllm.conversion.convert import convert
from localllm.conversion.out_type import OutType
from localllm.errors import UnsupportedModelError
from localllm.events import Event, Notice
from tests.conversion.eight_bits import write_eight_bits
from tests.conversion.logits import relative_difference, runtime_logits
from tests.conversion.parity import Digest
from tests.conversion.test_layouts import converted, converted_as, fused, read_weights, unquantized
from tests.conversion.tiny_families import write_tiny_family
from tests.conversion.tiny_llama import (
    Tensors,
    TinyLlama,
    edit_json,
    write_json,
    write_weights,
)


def saved_otherwise(name: str, tmp_path: Path, change: Callable[[Path, Tensors], Tensors]) -> Digest:
    """Return the digest of a family's file, once `change` of its directory and weights made the same."""
    directory = write_tiny_family(tmp_path / name, name)
    expected = converted(directory, tmp_path / "expected.gguf")
    tensors, dtype = read_weights(directory)
    write_weights(directory, change(directory, tensors), TinyLlama(dtype))
    assert converted(directory, tmp_path / "found.gguf") == expected
    return expected


def configured(**changes: Any) -> Callable[[Path, Tensors], Tensors]:
    """Change config.json alone."""

    def change(directory: Path, tensors: Tensors) -> Tensors:
        edit_json(directory / "config.json", **changes)
        return tensors

    return change


def test_transformers_saves_no_way_of_choosing_experts(tmp_path: Path) -> None:
    """The reference leaves it out then, and llama.cpp takes softmax."""
    found = saved_otherwise("deepseek3", tmp_path, configured(scoring_func=None, topk_method=None))
    assert found["metadata"]["deepseek2.expert_gating_func"] == ["UINT32", 2]


def test_experts_of_deepseek_in_one_tensor(tmp_path: Path) -> None:
    parts = ("mlp", ("gate_proj", "up_proj"), "down_proj")
    saved_otherwise("deepseek2", tmp_path, lambda _, tensors: fused(tensors, *parts))


def test_groups_that_limit_nothing_are_left_out(tmp_path: Path) -> None:
    """llama.cpp does not load a model that uses all of several groups."""
    directory = write_tiny_family(tmp_path / "deepseek3", "deepseek3")
    edit_json(directory / "config.json", n_group=2, topk_group=2)
    all_groups = runtime_logits(directory)
    assert "deepseek2.expert_group_count" not in keys(directory, tmp_path)
    edit_json(directory / "config.json", n_group=1, topk_group=1)
    assert keys(directory, tmp_path)["deepseek2.expert_group_count"] == ["UINT32", 1]
    assert relative_difference(all_groups, runtime_logits(directory)) < 1e-6


def test_a_greedy_choice_is_not_limited(tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / "deepseek2", "deepseek2")
    expected = runtime_logits(directory)
    edit_json(directory / "config.json", n_group=4, topk_group=2)
    assert "deepseek2.expert_group_count" not in keys(directory, tmp_path)
    assert relative_difference(runtime_logits(directory), expected) < 1e-6


def keys(directory: Path, tmp_path: Path) -> dict[str, Any]:
    return converted(directory, tmp_path / "keys.gguf")["metadata"]


def test_what_llama_cpp_chooses_otherwise_is_told(tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / "deepseek2", "deepseek2")
    changes = {"n_group": 4, "topk_group": 2, "topk_method": "group_limited_greedy"}
    edit_json(directory / "config.json", **changes)
    events: list[Event] = []
    convert(directory, output=tmp_path / "x.gguf", emit=events.append)
    [remark] = [event for event in events if isinstance(event, Notice) and event.topic == "runtime"]
    assert remark.message.startswith("this model was trained to choose groups of experts by their best one")
    assert keys(directory, tmp_path)["deepseek2.expert_group_used_count"] == ["UINT32", 2]


def test_eight_bits_in_blocks_as_deepseek_3_is_published(tmp_path: Path) -> None:
    """Matrices in blocks with a scale for each, also of the layer that predicts further tokens."""
    directory = write_tiny_family(tmp_path / "deepseek3", "deepseek3")
    tensors, dtype = read_weights(directory)
    behind = {name: values for name, values in tensors.items() if ".layers.2." in name}
    tensors |= {name.replace(".2.", ".3.", 1): values for name, values in behind.items()}
    plain = write_eight_bits(directory, tensors, dtype, block=32)
    found = converted_as(OutType.F32, directory, tmp_path / "fp8.gguf")
    assert found["tensors"] == unquantized(directory, plain, tmp_path)["tensors"]
    assert not [name for name in found["tensors"] if name.startswith("blk.3.")]


def test_codestral_under_its_own_names(tmp_path: Path) -> None:
    def own(_: Path, tensors: Tensors) -> Tensors:
        return {f"model.{n.replace('embeddings', 'embedding')}": values for n, values in tensors.items()}

    saved_otherwise("mamba2-codestral", tmp_path, own)


@pytest.mark.parametrize("infinity", [float("inf"), {"__float__": "Infinity"}])
def test_steps_without_limits_in_both_spellings(infinity: object, tmp_path: Path) -> None:
    saved_otherwise("mamba2", tmp_path, configured(time_step_limit=[0.0, infinity]))


def test_transformers_5_calls_the_layers_of_granite_4_otherwise(tmp_path: Path) -> None:
    saved_otherwise("granite4-moe", tmp_path, configured(layer_types=["full_attention"] * 2))


def test_the_form_of_the_mamba_ssm_package_is_named(tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / "mamba2", "mamba2")
    original = {"d_model": 64, "n_layer": 3, "ssm_cfg": {"layer": "Mamba2"}, "vocab_size": 288}
    write_json(directory / "config.json", original)
    with pytest.raises(UnsupportedModelError, match="mamba_ssm") as caught:
        convert(directory, output=tmp_path / "x.gguf")
    assert "convert_mamba2_ssm_checkpoint_to_pytorch" in str(caught.value.hint)
