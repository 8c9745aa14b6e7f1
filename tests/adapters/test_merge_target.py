"""`--merge-into`: the base as it is, its 16-bit original, or the weights QLoRA training saw."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from localllm.assembly import Recipe, assemble
from localllm.checkpoint import open_checkpoint
from localllm.checkpoint.numbers import as_float32
from localllm.dequantization import as_in_training, dequantized
from tests.adapters.tiny_adapters import TinyAdapter, write_tiny_adapter
from tests.cli.process import files_below, localllm
from tests.conversion.tiny_llama import cast, edit_json, write_tiny_llama
from tests.dequantization.tiny_quantized import SPEC, write_tiny_quantized

ADAPTER = TinyAdapter(("q_proj", "v_proj"))
ADAPTED = "model.layers.0.self_attn.q_proj.weight"
OTHER = "model.layers.1.mlp.down_proj.weight"
EMBEDDING = "model.embed_tokens.weight"

Weights = dict[str, NDArray[np.float32]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A 16-bit base, the same in 4 bits, and an adapter for both."""
    write_tiny_llama(tmp_path / "team" / "base", SPEC)
    write_tiny_quantized(tmp_path / "base-4bit", "nf4-double")
    edit_json(tmp_path / "base-4bit" / "config.json", _name_or_path="team/base")
    write_tiny_adapter(tmp_path / "adapter", ADAPTER)
    return tmp_path


def weights(directory: Path) -> Weights:
    tensors = open_checkpoint(directory).tensors.values()
    return {tensor.name: as_float32(tensor.read_array(), tensor.dtype) for tensor in tensors}


def merged(place: Path, base: str, *arguments: str) -> Weights:
    result = localllm("merge", base, "./adapter", "-o", "merged", *arguments, cwd=place)
    assert result.returncode == 0, result.stderr
    found = weights(place / "merged")
    shutil.rmtree(place / "merged")
    return found


def differs(first: Weights, second: Weights) -> set[str]:
    return {name for name in first if not np.array_equal(first[name], second[name])}


def test_a_quantized_base_becomes_sixteen_bits(place: Path) -> None:
    found = merged(place, "./base-4bit")
    plain = {n: t.read_array() for n, t in dequantized(open_checkpoint(place / "base-4bit")).tensors.items()}
    assert np.array_equal(found[OTHER], plain[OTHER])
    change = assemble(Recipe(place / "base-4bit", (place / "adapter",))).tensors[ADAPTED].read_array()
    assert np.array_equal(found[ADAPTED], as_float32(cast(change, "BF16"), "BF16"))
    assert differs(found, merged(place, "./base-4bit", "--merge-into", "dequantized")) == set()


def test_the_sixteen_bit_original_is_found(place: Path) -> None:
    found = merged(place, "./base-4bit", "--merge-into", "16bit")
    assert differs(found, merged(place, "./team/base")) == set()
    assert OTHER in differs(found, merged(place, "./base-4bit"))
    assert differs(found, merged(place, "./team/base", "--merge-into", "16bit")) == set()


def test_a_missing_original_is_told(place: Path) -> None:
    shutil.rmtree(place / "team")
    before = files_below(place)
    result = localllm("merge", "./base-4bit", "./adapter", "--merge-into", "16bit", "-o", "merged", cwd=place)
    assert result.returncode == 1
    assert "the 16-bit original of base-4bit, `team/base`, is not on this machine" in result.stderr
    assert "hint: `localllm pull team/base`" in result.stderr
    assert files_below(place) == before


def test_the_weights_of_training_are_made_from_a_sixteen_bit_base(place: Path) -> None:
    base, found = (
        weights(place / "team" / "base"),
        merged(place, "./team/base", "--merge-into", "dequantized"),
    )
    linear = {name for name in base if name.endswith("proj.weight")}
    assert differs(base, found) == linear
    rounded = as_in_training(open_checkpoint(place / "team" / "base")).tensors
    assert np.array_equal(found[OTHER], rounded[OTHER].read_array())
    plain = merged(place, "./team/base")
    change = plain[ADAPTED] - base[ADAPTED]
    np.testing.assert_allclose(found[ADAPTED] - change, rounded[ADAPTED].read_array(), rtol=0, atol=0.01)


def test_converting_merges_into_them_too(place: Path) -> None:
    for number, target in enumerate(("auto", "dequantized")):
        result = localllm(
            "convert",
            "./team/base",
            "--adapter",
            "./adapter",
            "--merge-into",
            target,
            "-o",
            f"{number}.gguf",
            cwd=place,
        )
        assert result.returncode == 0, result.stderr
    assert (place / "0.gguf").read_bytes() != (place / "1.gguf").read_bytes()


def test_an_adapter_that_stays_one_is_not_merged(place: Path) -> None:
    words = ("convert", "./adapter", "--base", "./team/base", "--merge-into", "dequantized", "-o", "x.gguf")
    result = localllm(*words, cwd=place)
    assert result.returncode == 2
    assert "an adapter alone becomes a GGUF adapter" in result.stderr


def test_without_an_adapter_there_is_nothing_to_merge(place: Path) -> None:
    result = localllm("convert", "./team/base", "--merge-into", "dequantized", "-o", "x.gguf", cwd=place)
    assert result.returncode == 2
    assert "`--merge-into` needs an adapter" in result.stderr
