"""Every tensor gets a name and a type, or a stated reason why it is left out; nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from localllm.checkpoint import open_checkpoint
from localllm.conversion.config import normalise
from localllm.conversion.families.llama import LLAMA
from localllm.conversion.out_type import OutType
from localllm.conversion.plan import ConversionPlan, choose_type, plan_conversion
from tests.conversion.tiny_llama import (
    LLAMA3_ROPE,
    Tensors,
    TinyLlama,
    cast,
    tiny_tensors,
    write_safetensors,
    write_tiny_llama,
)


def planned(
    directory: Path, out_type: OutType, spec: TinyLlama, tensors: Tensors | None = None
) -> ConversionPlan:
    checkpoint = open_checkpoint(write_tiny_llama(directory, spec, tensors))
    return plan_conversion(checkpoint, LLAMA, normalise(checkpoint.config, LLAMA.defaults), out_type)


def types(plan: ConversionPlan) -> dict[str, str]:
    return {tensor.entry.name: tensor.entry.type.name for tensor in plan.tensors}


@pytest.mark.parametrize("out_type", [OutType.F32, OutType.F16, OutType.BF16, OutType.Q8_0])
def test_matrices_get_the_chosen_type_vectors_stay_f32(out_type: OutType, tmp_path: Path) -> None:
    plan = planned(tmp_path, out_type, TinyLlama(tied=False, biases=True))
    for tensor in plan.tensors:
        name, kind = tensor.entry.name, tensor.entry.type.name
        is_matrix = name.endswith(".weight") and not name.endswith("_norm.weight")
        assert kind == (out_type.value.upper() if is_matrix else "F32"), name


def test_rows_that_fit_no_block_fall_back_to_f16(tmp_path: Path) -> None:
    found = types(planned(tmp_path, OutType.Q8_0, TinyLlama(intermediate=80)))
    assert {name for name, kind in found.items() if kind == "F16"} == {
        "blk.0.ffn_down.weight",
        "blk.1.ffn_down.weight",
    }


def test_shapes_are_written_row_length_first(tmp_path: Path) -> None:
    plan = planned(tmp_path, OutType.F16, TinyLlama())
    shapes = {tensor.entry.name: tensor.entry.shape for tensor in plan.tensors}
    assert shapes["token_embd.weight"] == (64, 288)
    assert shapes["blk.0.attn_q.weight"] == (64, 128)
    assert shapes["blk.1.attn_k.weight"] == (64, 64)
    assert shapes["output_norm.weight"] == (64,)
    assert plan.vocabulary_rows == 288


def test_only_queries_and_keys_are_permuted(tmp_path: Path) -> None:
    plan = planned(tmp_path, OutType.F16, TinyLlama(biases=True))
    found = {tensor.entry.name.removeprefix("blk.0."): tensor.op.name for tensor in plan.tensors if tensor.op}
    assert {name: op for name, op in found.items() if not name.startswith("blk.1.")} == {
        "attn_q.weight": "permute query heads",
        "attn_q.bias": "permute query heads",
        "attn_k.weight": "permute key heads",
        "attn_k.bias": "permute key heads",
    }


def test_computed_tensors_come_first(tmp_path: Path) -> None:
    plan = planned(tmp_path, OutType.BF16, TinyLlama(rope=LLAMA3_ROPE))
    assert plan.tensors[0].entry.name == "rope_freqs.weight"
    assert plan.tensors[0].entry.shape == (16,)
    assert plan.tensors[0].entry.type.name == "F32"


def test_parameters_are_counted(tmp_path: Path) -> None:
    spec = TinyLlama(tied=False)
    assert planned(tmp_path, OutType.F16, spec).parameters == sum(t.size for t in tiny_tensors(spec).values())


def test_leftovers_of_old_checkpoints_are_dropped_with_a_reason(tmp_path: Path) -> None:
    tensors = tiny_tensors()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(16, np.float32)
    plan = planned(tmp_path, OutType.F16, TinyLlama(), tensors)
    assert plan.dropped == (("model.layers.0.self_attn.rotary_emb.inv_freq", "recomputed at run time"),)
    assert len(plan.tensors) == len(tensors) - 1


def test_a_tied_head_saved_twice_is_dropped(tmp_path: Path) -> None:
    tensors = tiny_tensors()
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    plan = planned(tmp_path, OutType.F16, TinyLlama(tied=True), tensors)
    assert [name for name, _ in plan.dropped] == ["lm_head.weight"]
    assert "output.weight" not in types(plan)


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_of_its_own_is_kept(tied: bool, tmp_path: Path) -> None:
    """Even when config.json calls the model tied: some fine-tunes train the head and leave the flag."""
    tensors = tiny_tensors(TinyLlama(tied=False))
    assert "output.weight" in types(planned(tmp_path, OutType.F16, TinyLlama(tied=tied), tensors))


@pytest.mark.parametrize(
    ("dtype", "expected"), [("BF16", "BF16"), ("F16", "F16"), ("F32", "F16"), ("F64", "F16")]
)
def test_auto_keeps_sixteen_bit_types(dtype: str, expected: str, tmp_path: Path) -> None:
    assert (
        choose_type(open_checkpoint(write_tiny_llama(tmp_path, TinyLlama(dtype))), OutType.AUTO).name
        == expected
    )


def test_auto_looks_past_float32_matrices(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path)
    mixed = {
        name: (dtype := "F32" if "embed" in name else "BF16", cast(values, dtype))
        for name, values in tiny_tensors().items()
    }
    write_safetensors(directory / "model.safetensors", mixed)
    assert choose_type(open_checkpoint(directory), OutType.AUTO).name == "BF16"
