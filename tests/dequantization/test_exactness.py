"""What is computed from a quantized checkpoint: every bit its method's library computes, in any pieces."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from localllm.checkpoint import Checkpoint, StoredTensor, open_checkpoint
from localllm.checkpoint.numbers import as_float32
from localllm.dequantization import dequantized
from localllm.dequantization.packing import unpack
from localllm.dequantization.rounding import rounded
from tests.conversion.tiny_llama import cast, edit_json, tiny_tensors, write_json, write_safetensors
from tests.dequantization.quantizers import NF4, FourBit, Integers, Stored, pack
from tests.dequantization.tiny_quantized import (
    CASES,
    SPEC,
    derived_values,
    digest,
    golden,
    open_tiny,
    rewrite,
    write_tiny_quantized,
)

_GATE = "model.layers.0.mlp.gate_proj"
_DOWN = "model.layers.1.mlp.down_proj"
# a row of these lies in one place
ROW_LOCAL = [name for name in CASES if not name.startswith("gptq")]


def test_every_case_has_its_golden() -> None:
    assert set(golden()) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_every_bit_is_the_librarys(name: str, tmp_path: Path) -> None:
    values = derived_values(dequantized(open_tiny(tmp_path, name)))
    assert {weight: digest(array) for weight, array in values.items()} == golden()[name]


@pytest.mark.parametrize("name", CASES)
def test_the_result_is_a_plain_checkpoint(name: str, tmp_path: Path) -> None:
    original = open_tiny(tmp_path, name)
    plain = dequantized(original)
    expected = tiny_tensors(SPEC)
    assert {n: t.shape for n, t in plain.tensors.items()} == {n: v.shape for n, v in expected.items()}
    assert "quantization_config" in original.config
    assert "quantization_config" not in plain.config
    native = "F32" if name == "nf4-float32" else CASES[name].native
    for weight, tensor in plain.tensors.items():
        if weight.endswith("proj.weight"):
            assert (tensor.is_derived, tensor.dtype, tensor.native_dtype) == (True, "F32", native)
            assert tensor.name == weight
        else:
            assert tensor is original.tensors[weight]


@pytest.mark.parametrize("name", CASES)
def test_rows_are_the_same_in_any_pieces(name: str, tmp_path: Path) -> None:
    tensors = dequantized(open_tiny(tmp_path, name)).tensors
    for tensor in (tensors[f"{_GATE}.weight"], tensors[f"{_DOWN}.weight"]):
        whole = tensor.read_rows(0, tensor.rows)
        for first, count in ((0, 1), (1, 2), (7, 26), (tensor.rows - 3, 3)):
            assert np.array_equal(tensor.read_rows(first, count), whole[first : first + count])
        pieces = list(tensor.read_pieces(5 * tensor.columns))
        assert np.array_equal(np.concatenate(pieces), whole)


@dataclass(frozen=True)
class CountingTensor(StoredTensor):
    """Notes how many bytes of which tensor are read."""

    reads: list[tuple[str, int]] = field(compare=False)

    def read_rows(self, first: int, count: int, scratch: memoryview | None = None) -> NDArray[Any]:
        rows = super().read_rows(first, count, scratch)
        self.reads.append((self.name, rows.nbytes))
        return rows


def _counting(checkpoint: Checkpoint, reads: list[tuple[str, int]]) -> Checkpoint:
    tensors = {
        name: CountingTensor(**vars(tensor), reads=reads) for name, tensor in checkpoint.tensors.items()
    }
    return replace(checkpoint, tensors=tensors)


@pytest.mark.parametrize("name", ROW_LOCAL)
def test_a_few_rows_cost_a_few_bytes(name: str, tmp_path: Path) -> None:
    reads: list[tuple[str, int]] = []
    checkpoint = _counting(open_tiny(tmp_path, name), reads)
    tensor = dequantized(checkpoint).tensors[f"{_GATE}.weight"]
    assert sum(size for _, size in reads) < 8000, "opening reads shapes, not weights"
    reads.clear()
    tensor.read_rows(40, 4)
    tables = ("quant_map", "g_idx")
    read = sum(size for part, size in reads if part.startswith(_GATE) and not part.endswith(tables))
    assert {part.startswith(_GATE) for part, _ in reads} == {True}
    assert 0 < read <= 4 * 64 * 1.3 + 64, "4 of 416 rows of 64"


def test_gptq_reads_one_tensor_to_compute_its_rows(tmp_path: Path) -> None:
    reads: list[tuple[str, int]] = []
    checkpoint = _counting(open_tiny(tmp_path, "gptq-4"), reads)
    plain = dequantized(checkpoint)
    assert reads == []
    plain.tensors[f"{_GATE}.weight"].read_rows(3, 2)
    assert {part.rpartition(".")[0] for part, _ in reads} == {_GATE}


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_odd_rows_begin_in_the_middle_of_a_byte(dtype: str, double: bool, tmp_path: Path) -> None:
    weight = np.random.Generator(np.random.PCG64(7)).standard_normal((5, 63)).astype(np.float32)
    stored = FourBit(dtype=dtype, double=double, blocksize=32)("odd", weight)
    tensor = _open(tmp_path, stored).tensors["odd.weight"]
    whole = tensor.read_array()
    if not double:
        table, packed = np.array(NF4.split(), np.float32), stored["odd.weight"][1].reshape(-1)
        codes = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[: weight.size]
        expected = (table[codes] * stored["odd.weight.absmax"][1].repeat(32)[: weight.size]).reshape(5, 63)
        assert np.array_equal(whole, rounded(expected, {"float32": "F32", "bfloat16": "BF16"}[dtype]))
    assert np.abs(whole - weight).max() < 0.5
    for row in range(5):
        assert np.array_equal(tensor.read_rows(row, 1), whole[row : row + 1])


@pytest.mark.parametrize("shape", [(3, 2, 3), (3,), (3, 1, 1), ()])
def test_experts_in_one_tensor_have_scales_of_their_own(shape: tuple[int, ...], tmp_path: Path) -> None:
    random = np.random.Generator(np.random.PCG64(8))
    codes = random.integers(0, 120, (3, 20, 24), dtype=np.uint8)
    scales = random.uniform(0.5, 2, shape).astype(np.float32)
    stored: Stored = {
        "experts.gate_up_proj": ("F8_E4M3", codes),
        "experts.gate_up_proj_scale_inv": ("F32", np.asarray(scales)),
        "experts.gate_up_proj_activation_scale": ("F32", np.ones(3, np.float32)),
    }
    settings = {"quant_method": "fp8", "weight_block_size": [10, 8] if len(scales.shape) == 3 else None}
    plain = _open(tmp_path, stored, settings)
    assert list(plain.tensors) == ["experts.gate_up_proj"]
    tensor = plain.tensors["experts.gate_up_proj"]
    in_blocks = shape == (3, 2, 3)
    expanded = scales.repeat(10, axis=1).repeat(8, axis=2) if in_blocks else scales.reshape(-1, 1, 1)
    expected = as_float32(codes, "F8_E4M3") * expanded
    assert np.array_equal(tensor.read_array(), expected)
    assert np.array_equal(tensor.read_rows(18, 5), expected.reshape(60, 24)[18:23])


def test_rows_and_columns_may_leave_words_unfilled(tmp_path: Path) -> None:
    weight = np.random.Generator(np.random.PCG64(9)).standard_normal((5, 20)).astype(np.float32)
    stored = Integers(4, 0, symmetric=False, scales="F32")("odd", weight)
    scheme = {"num_bits": 4, "strategy": "channel", "symmetric": False}
    groups = {"group_0": {"weights": scheme}}
    settings = {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": groups}
    tensor = _open(tmp_path, stored, settings).tensors["odd.weight"]
    step = stored["odd.weight_scale"][1]
    assert tensor.shape == (5, 20)
    assert (np.abs(tensor.read_array() - weight) <= step * 0.51).mean() > 0.95  # the ends are clipped
    assert np.array_equal(tensor.read_rows(3, 2), tensor.read_array()[3:])


def test_an_order_that_was_never_chosen_is_none(tmp_path: Path) -> None:
    def forget(stored: Stored) -> None:
        for name in [name for name in stored if name.endswith("weight_shape")]:
            columns = int(stored[name][1][1])
            stored[name.replace("shape", "g_idx")] = ("I32", np.full(columns, -1, np.int32))

    values = derived_values(dequantized(open_checkpoint(rewrite(tmp_path, forget, "compressed-packed-4"))))
    assert {weight: digest(array) for weight, array in values.items()} == golden()["compressed-packed-4"]


@pytest.mark.parametrize(
    ("case", "config", "native"),
    [
        ("gptq-2", {"dtype": "float16"}, "F16"),
        ("gptq-2", {"torch_dtype": "torch.bfloat16"}, "BF16"),
        ("gptq-2", {"text_config": {"dtype": "bfloat16"}}, "BF16"),
        ("gptq-2", {"torch_dtype": "float32"}, "F16"),  # that of the scales
        ("gptq-2", {}, "F16"),
        ("fp8-blocks", {}, "BF16"),  # that of the embedding
        ("fp8-blocks", {"dtype": 16}, "BF16"),
        ("fp4-double-float16", {"dtype": "bfloat16"}, "F16"),  # that of the quant state
    ],
)
def test_the_native_type_is_what_the_model_computes_in(
    case: str, config: dict[str, Any], native: str, tmp_path: Path
) -> None:
    write_tiny_quantized(tmp_path, case)
    edit_json(tmp_path / "config.json", **{"torch_dtype": None, **config})
    tensors = dequantized(open_checkpoint(tmp_path)).tensors
    assert {tensor.native_dtype for tensor in tensors.values() if tensor.is_derived} == {native}


def test_gptq_without_an_order_takes_groups_in_turn(tmp_path: Path) -> None:
    def drop_order(stored: Stored) -> None:
        for name in [name for name in stored if name.endswith("g_idx")]:
            del stored[name]

    values = derived_values(dequantized(open_checkpoint(rewrite(tmp_path, drop_order, "gptq-4"))))
    assert {weight: digest(array) for weight, array in values.items()} == golden()["gptq-4"]


def test_parameters_that_are_called_like_scales_stay(tmp_path: Path) -> None:
    names = ["altup.correct_output_scale", "mixer.layer_scale", "self_attn.per_dim_scale"]
    stored: Stored = {name: ("F32", np.ones(4, np.float32)) for name in names}
    for method in ("fp8", "compressed-tensors"):
        settings = {"quant_method": method, "format": "float-quantized", "config_groups": {}}
        assert list(_open(tmp_path, stored, settings).tensors) == names


def test_biases_of_gptq_stay(tmp_path: Path) -> None:
    bias = np.linspace(-1, 1, 64).astype(np.float16)

    def add_bias(stored: Stored) -> None:
        stored["model.layers.0.self_attn.k_proj.bias"] = ("F16", bias)

    tensors = dequantized(open_checkpoint(rewrite(tmp_path, add_bias, "gptq-4"))).tensors
    assert np.array_equal(tensors["model.layers.0.self_attn.k_proj.bias"].read_array(), bias)


@given(
    bits=st.sampled_from([2, 4, 8]),
    axis=st.sampled_from([0, 1]),
    rows=st.integers(1, 6),
    words=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_unpacking_undoes_packing(bits: int, axis: int, rows: int, words: int, seed: int) -> None:
    shape = (rows, words * 32 // bits) if axis == 1 else (words * 32 // bits, rows)
    values = np.random.Generator(np.random.PCG64(seed)).integers(0, 2**bits, shape)
    assert np.array_equal(unpack(pack(values, bits, axis), bits, axis), values)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_rounding_is_to_the_nearest_and_keeps_what_fits(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    once = rounded(values, "BF16")
    assert np.array_equal(once.view(np.uint32) >> 16, cast(values, "BF16"))
    assert np.array_equal(rounded(once, "BF16"), once)
    with np.errstate(over="ignore"):
        assert np.array_equal(rounded(values, "F16"), values.astype(np.float16).astype(np.float32))
    assert rounded(values, "F32") is values


def test_nan_is_not_rounded_to_a_number() -> None:
    worst = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32)
    assert np.isnan(rounded(worst, "BF16")).all()
    assert np.isnan(rounded(worst, "F16")).all()


def _open(directory: Path, stored: Stored, settings: dict[str, Any] | None = None) -> Checkpoint:
    write_json(directory / "config.json", {"quantization_config": settings} if settings else {})
    write_safetensors(directory / "model.safetensors", stored)
    return dequantized(open_checkpoint(directory))
