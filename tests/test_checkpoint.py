"""Checkpoints are validated before a weight is read; tensors are read lazily, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from localllm.checkpoint import WEIGHTS_INDEX, StoredTensor, is_checkpoint, open_checkpoint
from localllm.errors import CheckpointError, LocalLLMError, NotFoundError, UnsupportedModelError
from tests.conversion.tiny_llama import TinyLlama, cast, edit_json, tiny_tensors, write_tiny_llama


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "sharded", TinyLlama("BF16", shards=3))


def failure(directory: Path) -> LocalLLMError:
    with pytest.raises(LocalLLMError) as caught:
        open_checkpoint(directory)
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_values_are_read_as_they_were_written(dtype: str, tmp_path: Path) -> None:
    spec = TinyLlama(dtype)
    checkpoint = open_checkpoint(write_tiny_llama(tmp_path, spec))
    for name, values in tiny_tensors(spec).items():
        tensor = checkpoint.tensors[name]
        assert (tensor.dtype, tensor.shape) == (dtype, values.shape)
        assert np.array_equal(tensor.read_array(), cast(values, dtype))


def test_pieces_and_row_ranges_are_the_whole(tmp_path: Path) -> None:
    tensor = open_checkpoint(write_tiny_llama(tmp_path)).tensors["model.embed_tokens.weight"]
    whole = tensor.read_array()
    pieces = list(tensor.read_pieces(5 * 64))
    assert [len(piece) for piece in pieces] == [5] * 57 + [3]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert np.array_equal(np.concatenate(list(tensor.read_pieces(64, 10, 3))), whole[10:13])


def test_shards_are_one_checkpoint(sharded: Path) -> None:
    tensors = open_checkpoint(sharded).tensors
    assert set(tensors) == set(tiny_tensors())
    assert len({tensor.path for tensor in tensors.values()}) == 3


def test_a_missing_shard(sharded: Path) -> None:
    (sharded / "model-00002-of-00003.safetensors").unlink()
    error = failure(sharded)
    assert "model-00002-of-00003.safetensors is missing" in error.message
    assert error.hint


def test_many_missing_shards_are_counted(sharded: Path) -> None:
    for number in (1, 3):
        (sharded / f"model-0000{number}-of-00003.safetensors").unlink()
    assert "2 of 3 shards are missing" in failure(sharded).message


def test_without_an_index_the_names_tell_what_is_missing(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").unlink()
    assert set(open_checkpoint(sharded).tensors) == set(tiny_tensors())
    (sharded / "model-00003-of-00003.safetensors").unlink()
    assert "model-00003-of-00003.safetensors is missing" in failure(sharded).message


def test_a_pointer_instead_of_weights(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (write_tiny_llama(tmp_path) / "model.safetensors").write_text(pointer)
    error = failure(tmp_path)
    assert "is a Git LFS pointer" in error.message
    assert "git lfs pull" in str(error.hint)


def test_a_truncated_shard(sharded: Path) -> None:
    path = sharded / "model-00001-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    error = failure(sharded)
    assert "not a valid safetensors file" in error.message
    assert "fetch it again" in str(error.hint)


def test_a_file_that_shrinks_after_it_was_opened(tmp_path: Path) -> None:
    tensor = open_checkpoint(write_tiny_llama(tmp_path)).tensors["model.norm.weight"]
    assert isinstance(tensor, StoredTensor)
    tensor.path.write_bytes(tensor.path.read_bytes()[: tensor.offset + 10])
    with pytest.raises(CheckpointError, match=r"ends inside tensor `model\.norm\.weight`"):
        tensor.read_array()


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", ".hidden", "a\\b.safetensors", 3])
def test_an_index_cannot_point_elsewhere(name: object, sharded: Path) -> None:
    index = json.loads((sharded / WEIGHTS_INDEX).read_text())
    index["weight_map"]["model.norm.weight"] = name
    (sharded / WEIGHTS_INDEX).write_text(json.dumps(index))
    assert "names a file outside its directory" in failure(sharded).message


def test_an_index_and_its_shards_must_agree(sharded: Path) -> None:
    index = json.loads((sharded / WEIGHTS_INDEX).read_text())
    file = index["weight_map"].pop("model.norm.weight")
    (sharded / WEIGHTS_INDEX).write_text(json.dumps(index))
    assert "`model.norm.weight` is in a shard, but not in" in failure(sharded).message
    index["weight_map"] |= {"model.norm.weight": file, "model.ghost.weight": file}
    (sharded / WEIGHTS_INDEX).write_text(json.dumps(index))
    assert "lists `model.ghost.weight`, but no shard holds it" in failure(sharded).message


def test_a_stray_copy_of_the_weights(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path)
    (directory / "model-old.safetensors").write_bytes((directory / "model.safetensors").read_bytes())
    assert "remove the stray weight file" in str(failure(directory).hint)


def test_pickled_weights_are_refused_unopened(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path)
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    error = failure(directory)
    assert isinstance(error, UnsupportedModelError)
    assert "can run code when opened" in error.message


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"', "[" * 100_000])
def test_a_damaged_configuration(content: str, tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path)
    (directory / "config.json").write_text(content)
    assert "config.json" in failure(directory).message


def test_damaged_side_files_count_as_missing(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path)
    (directory / "generation_config.json").write_text("{broken")
    assert open_checkpoint(directory).generation_config == {}


@pytest.mark.parametrize(("names", "architecture"), [(None, ""), ([], ""), ("Llama", ""), (["A", "B"], "A")])
def test_the_architecture_is_the_first(names: object, architecture: str, tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path)
    edit_json(directory / "config.json", architectures=names)
    assert open_checkpoint(directory).architecture == architecture


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such directory"):
        open_checkpoint(tmp_path / "missing")
    assert "has no config.json" in failure(tmp_path).message
    assert not is_checkpoint(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "is a LoRA adapter" in failure(tmp_path).message
    file = tmp_path / "file"
    file.write_text("")
    assert "is a file, not a checkpoint directory" in failure(file).message
