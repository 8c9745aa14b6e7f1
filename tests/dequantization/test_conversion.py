"""Quantized checkpoints on the command line: the same file as from the weights they stand for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from localllm.assembly import Recipe, assemble
from localllm.checkpoint import open_checkpoint
from localllm.checkpoint.numbers import as_float32
from localllm.conversion.out_type import OutType
from localllm.conversion.plan import choose_type
from localllm.dequantization import dequantized
from tests.adapters.tiny_adapters import TinyAdapter, write_tiny_adapter
from tests.cli.process import files_below, localllm
from tests.conversion.tiny_llama import cast, edit_json, write_tiny_llama
from tests.dequantization.tiny_quantized import CASES, write_plain, write_tiny_quantized

_ATTENTION = TinyAdapter(("q_proj", "v_proj"))


def _tensors(path: Path) -> dict[str, tuple[str, NDArray[Any]]]:
    return {t.name: (t.tensor_type.name, np.array(t.data)) for t in gguf.GGUFReader(path).tensors}


def _assert_same_tensors(first: Path, second: Path) -> None:
    ours, expected = _tensors(first), _tensors(second)
    assert ours.keys() == expected.keys()
    for name, (kind, data) in expected.items():
        assert ours[name][0] == kind
        assert np.array_equal(ours[name][1], data), name


@pytest.mark.parametrize("name", ["nf4-double", "int8", "fp8-blocks", "gptq-4-order", "compressed-packed-4"])
def test_the_file_is_that_of_the_plain_checkpoint(name: str, tmp_path: Path) -> None:
    quantized = write_tiny_quantized(tmp_path / "quantized", name)
    plain = write_plain(tmp_path / "plain", dequantized(open_checkpoint(quantized)))
    for source in (quantized, plain):
        result = localllm("convert", source, "-o", tmp_path / f"{source.name}.gguf")
        assert result.returncode == 0, result.stderr
    _assert_same_tensors(tmp_path / "quantized.gguf", tmp_path / "plain.gguf")
    kinds = {kind for kind, _ in _tensors(tmp_path / "quantized.gguf").values()}
    assert kinds == {CASES[name].native, "F32"}


def test_auto_is_the_type_the_model_computes_in(tmp_path: Path) -> None:
    source = write_tiny_quantized(tmp_path, "nf4-double")
    assert choose_type(assemble(Recipe(source)), OutType.AUTO).name == "BF16"


def test_an_adapter_is_merged_into_what_the_base_stands_for(tmp_path: Path) -> None:
    base = write_tiny_quantized(tmp_path / "base", "nf4-double")
    adapter = write_tiny_adapter(tmp_path / "adapter", _ATTENTION)
    plain = write_plain(tmp_path / "plain", dequantized(open_checkpoint(base)))
    result = localllm("merge", base, adapter, "-o", tmp_path / "merged")
    assert result.returncode == 0, result.stderr
    merged = open_checkpoint(tmp_path / "merged")
    expected = assemble(Recipe(plain, (adapter,)))
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())
    assert {name: tensor.dtype for name, tensor in merged.tensors.items()} == dict.fromkeys(
        expected.tensors, "BF16"
    )
    for name, tensor in expected.tensors.items():
        values = as_float32(tensor.read_array(), tensor.dtype)
        assert np.array_equal(merged.tensors[name].read_array(), cast(values, "BF16")), name


def test_what_cannot_be_read_names_the_method_and_the_base(tmp_path: Path) -> None:
    source = write_tiny_llama(tmp_path / "awq")
    edit_json(source / "config.json", quantization_config={"quant_method": "awq", "bits": 4})
    (source / "README.md").write_text("---\nbase_model: org/Base-7B\n---\n")
    before = files_below(tmp_path)
    result = localllm("convert", source, "-o", tmp_path / "awq.gguf")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "error: the checkpoint is quantized with AWQ, which cannot be read\n" in result.stderr
    assert "hint: convert its unquantized base, org/Base-7B\n" in result.stderr
    assert files_below(tmp_path) == before


def test_integers_that_nothing_explains_are_refused_with_a_hint(tmp_path: Path) -> None:
    source = write_tiny_quantized(tmp_path / "int8", "int8")
    edit_json(source / "config.json", quantization_config=None)
    result = localllm("convert", source, "-o", tmp_path / "int8.gguf")
    assert result.returncode == 1
    assert "has type I8, not floating point" in result.stderr
    assert "hint: config.json names no quantization method" in result.stderr
    assert not (tmp_path / "int8.gguf").exists()
