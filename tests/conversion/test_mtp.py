"""Layers for multi-token prediction: left out unless asked for, then whole, without influence on answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from localllm.checkpoint import read_safetensors
from localllm.conversion.convert import convert
from localllm.conversion.out_type import OutType
from localllm.errors import CheckpointError, UnsupportedModelError
from localllm.events import Event, Notice
from localllm.gguf_file import read_header
from localllm.inspection.gguf_description import describe
from localllm.native.library import llama
from localllm.verbs.quantize import quantize
from tests.conversion import tiny_mtp
from tests.conversion.golden_checkpoints import MTP
from tests.conversion.logits import logits_of
from tests.conversion.parity import GOLDEN, OUT_TYPES, differences, digest, source_hashes
from tests.conversion.tiny_families import write_tiny_family
from tests.conversion.tiny_llama import write_safetensors
from tests.conversion.tiny_mtp import write_tiny_mtp


@pytest.mark.parametrize("kind", OUT_TYPES)
@pytest.mark.parametrize("name", MTP)
def test_it_is_what_the_reference_keeps(name: str, kind: str, tmp_path: Path) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="ascii"))
    checkpoint, output = MTP[name](tmp_path / name), tmp_path / "own.gguf"
    assert source_hashes(checkpoint) == golden["sources"]
    convert(checkpoint, output=output, out_type=OutType(kind), keep_mtp=True)
    assert not differences(golden[kind], digest(output))


@pytest.mark.parametrize("name", tiny_mtp.MTP)
def test_answers_are_those_of_the_model_without(name: str, tmp_path: Path) -> None:
    checkpoint = write_tiny_mtp(tmp_path / name, name)
    kept, plain = tmp_path / "kept.gguf", tmp_path / "plain.gguf"
    notices: list[Event] = []
    convert(checkpoint, output=plain, out_type=OutType.F32, emit=notices.append)
    convert(checkpoint, output=kept, out_type=OutType.F32, keep_mtp=True)
    assert any("`--keep-mtp` keeps them" in e.message for e in notices if isinstance(e, Notice))
    assert np.array_equal(logits_of(kept), logits_of(plain))
    assert tensors_loaded(kept) > tensors_loaded(plain)


def tensors_loaded(path: Path) -> int:
    """Return the bytes of weights that llama.cpp holds when it is to load layers for prediction, too."""
    library = llama()
    parameters = library.llama_model_default_params()
    parameters.load_mtp = True
    model = library.llama_model_load_from_file(str(path).encode(), parameters)
    assert model
    size = int(library.llama_model_size(model))
    library.llama_model_free(model)
    return size


def test_config_json_may_name_layers_that_are_not_there(tmp_path: Path) -> None:
    """Most fine-tuning loses the layer and keeps its number: the reference writes what does not load."""
    checkpoint = write_tiny_mtp(tmp_path / "model", "qwen3.5")
    weights = checkpoint / "model.safetensors"
    tensors = {tensor.name: (tensor.dtype, tensor.read_array()) for tensor in read_safetensors(weights)}
    write_safetensors(weights, {name: each for name, each in tensors.items() if not name.startswith("mtp.")})
    output = tmp_path / "model.gguf"
    convert(checkpoint, output=output)
    header = read_header(output)
    assert header.architecture_integer("block_count") == 4
    assert header.architecture_integer("nextn_predict_layers") is None
    with pytest.raises(CheckpointError, match="hold no layer for multi-token prediction"):
        convert(checkpoint, output=output, keep_mtp=True)


@pytest.mark.parametrize("part", ["fc.weight", "norm.weight", "layers.0.mlp.down_proj.weight"])
def test_a_layer_that_is_not_whole_is_refused(part: str, tmp_path: Path) -> None:
    checkpoint = write_tiny_mtp(tmp_path / "model", "qwen3.5")
    weights = checkpoint / "model.safetensors"
    tensors = {tensor.name: (tensor.dtype, tensor.read_array()) for tensor in read_safetensors(weights)}
    del tensors[f"mtp.{part}"]
    write_safetensors(weights, tensors)
    output = tmp_path / "model.gguf"
    with pytest.raises(CheckpointError, match=r"is incomplete: the weights lack `blk\.4\.") as error:
        convert(checkpoint, output=output, keep_mtp=True)
    assert "--keep-mtp" in (error.value.hint or "")
    assert not output.exists()
    convert(checkpoint, output=output)


def test_in_a_multimodal_checkpoint(tmp_path: Path) -> None:
    """Its other parts have layers, too, whose numbers count for nothing."""
    checkpoint = write_tiny_mtp(tmp_path / "model", "qwen3.5")
    convert(checkpoint, output=tmp_path / "plain.gguf", keep_mtp=True)
    weights, config = checkpoint / "model.safetensors", checkpoint / "config.json"
    text = json.loads(config.read_text())
    outer = {"architectures": ["Qwen3_5ForConditionalGeneration"], "model_type": "qwen3_5"}
    config.write_text(json.dumps({**outer, "text_config": text, "torch_dtype": text["torch_dtype"]}))
    tensors = {tensor.name: (tensor.dtype, tensor.read_array()) for tensor in read_safetensors(weights)}
    nested = {name.replace("model.", "model.language_model.", 1): each for name, each in tensors.items()}
    nested["model.visual.layers.9.norm.weight"] = tensors["mtp.norm.weight"]
    write_safetensors(weights, nested)
    convert(checkpoint, output=tmp_path / "nested.gguf", keep_mtp=True)
    plain, found = digest(tmp_path / "plain.gguf"), digest(tmp_path / "nested.gguf")
    assert found["tensors"] == plain["tensors"]
    assert found["metadata"]["qwen35.nextn_predict_layers"] == ["UINT32", 1]


def test_families_without_such_layers_are_refused(tmp_path: Path) -> None:
    checkpoint = write_tiny_family(tmp_path / "model", "qwen3")
    with pytest.raises(UnsupportedModelError, match="no layers for multi-token prediction of Qwen3"):
        convert(checkpoint, output=tmp_path / "model.gguf", keep_mtp=True)


def test_an_entry_of_config_json_keeps_nothing(tmp_path: Path) -> None:
    checkpoint = write_tiny_mtp(tmp_path / "model", "qwen3.5")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "kept_mtp_layers": 1}))
    convert(checkpoint, output=tmp_path / "model.gguf")
    assert read_header(tmp_path / "model.gguf").architecture_integer("block_count") == 4


def test_quantizing_a_checkpoint_keeps_them_as_quantizing_a_file_does(tmp_path: Path) -> None:
    checkpoint = write_tiny_mtp(tmp_path / "model", "glm4-moe")
    file = tmp_path / "model.gguf"
    convert(checkpoint, output=file, keep_mtp=True)
    made = [
        quantize(source, ["Q4_K_M"], output=tmp_path / name, keep_mtp=source == checkpoint)[0].path
        for source, name in ((checkpoint, "a.gguf"), (file, "b.gguf"))
    ]
    first, second = (
        {tensor.name: (tensor.tensor_type, tensor.data.tobytes()) for tensor in gguf.GGUFReader(path).tensors}
        for path in made
    )
    assert first == second
    assert "blk.3.nextn.eh_proj.weight" in first


def test_inspect_tells_them_apart(tmp_path: Path) -> None:
    checkpoint = write_tiny_mtp(tmp_path / "model", "qwen3.5-moe")
    described = []
    for keep in (True, False):
        output = tmp_path / f"{keep}.gguf"
        convert(checkpoint, output=output, keep_mtp=keep)
        described.append(describe(read_header(output), "label"))
    kept, plain = described
    assert kept.dimensions
    assert plain.dimensions
    assert (kept.dimensions.layers, kept.dimensions.mtp_layers) == (5, 1)
    assert (plain.dimensions.layers, plain.dimensions.mtp_layers) == (4, None)
    assert kept.active_parameters == plain.active_parameters


def test_the_command(tmp_path: Path) -> None:
    checkpoint = write_tiny_mtp(tmp_path / "model", "qwen3-next")
    output = tmp_path / "kept.gguf"
    command = [sys.executable, "-m", "localllm", "convert", str(checkpoint), "-o", str(output), "--keep-mtp"]
    subprocess.run(command, check=True, capture_output=True)
    assert read_header(output).architecture_integer("nextn_predict_layers") == 1
    command = [sys.executable, "-m", "localllm", "quantize", str(output), "-q", "Q4_0", "--keep-mtp"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "`--keep-mtp` is for checkpoints" in refused.stderr
