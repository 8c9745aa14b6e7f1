"""Which checkpoints are quantized, with what, and what is said of those that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localllm.checkpoint import open_checkpoint
from localllm.dequantization import dequantized, quantization_method
from localllm.errors import UnsupportedModelError
from tests.conversion.tiny_llama import edit_json, write_tiny_llama
from tests.dequantization.quantizers import Stored
from tests.dequantization.tiny_quantized import (
    CASES,
    derived_values,
    digest,
    golden,
    rewrite,
    write_tiny_quantized,
)

NAMED = {
    "nothing": ({}, None),
    "no settings": ({"quantization_config": None}, None),
    "empty settings": ({"quantization_config": {}}, None),
    "settings in words": ({"quantization_config": "gptq"}, None),
    "plain": ({"quantization_config": {"quant_method": "gptq"}}, "gptq"),
    "other case": ({"quantization_config": {"quant_method": "AWQ"}}, "awq"),
    "underscores": ({"quantization_config": {"quant_method": "compressed_tensors"}}, "compressed-tensors"),
    "with bits": ({"quantization_config": {"quant_method": "bitsandbytes_4bit"}}, "bitsandbytes"),
    "old 4 bits": ({"quantization_config": {"load_in_4bit": True}}, "bitsandbytes"),
    "old 8 bits": ({"quantization_config": {"load_in_8bit": True, "load_in_4bit": False}}, "bitsandbytes"),
    "old compressed": ({"compression_config": {"config_groups": {}}}, "compressed-tensors"),
    "modelopt": ({"quantization_config": {"quant_algo": "FP8"}}, "modelopt"),
    "nested": ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
    "something else": ({"quantization_config": {"bits": 4}}, "unknown"),
}


@pytest.mark.parametrize("name", NAMED)
def test_the_method_is_named(name: str) -> None:
    config, method = NAMED[name]
    assert quantization_method(config) == method


def test_a_plain_checkpoint_is_returned_as_it_is(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_tiny_llama(tmp_path))
    assert dequantized(checkpoint) is checkpoint


def test_settings_that_were_left_behind_are_dropped(tmp_path: Path) -> None:
    """A model that was merged into 16 bits often keeps the settings it was loaded with."""
    edit_json(
        write_tiny_llama(tmp_path) / "config.json", quantization_config={"quant_method": "bitsandbytes"}
    )
    checkpoint = open_checkpoint(tmp_path)
    plain = dequantized(checkpoint)
    assert plain.config == {k: v for k, v in checkpoint.config.items() if k != "quantization_config"}
    assert dict(plain.tensors) == dict(checkpoint.tensors)


def test_bitsandbytes_shows_without_settings(tmp_path: Path) -> None:
    edit_json(write_tiny_quantized(tmp_path, "nf4-double") / "config.json", quantization_config=None)
    values = derived_values(dequantized(open_checkpoint(tmp_path)))
    assert {weight: digest(array) for weight, array in values.items()} == golden()["nf4-double"]


def test_settings_of_the_language_model_alone(tmp_path: Path) -> None:
    write_tiny_quantized(tmp_path, "fp8-blocks")
    nested = {"quantization_config": CASES["fp8-blocks"].settings, "hidden_size": 64}
    edit_json(tmp_path / "config.json", quantization_config=None, text_config=nested)
    plain = dequantized(open_checkpoint(tmp_path))
    assert plain.config["text_config"] == {"hidden_size": 64}
    assert {n: digest(v) for n, v in derived_values(plain).items()} == golden()["fp8-blocks"]


REFUSED = {
    "aqlm": "AQLM",
    "auto-round": "AutoRound",
    "awq": "AWQ",
    "bitnet": "BitNet",
    "eetq": "EETQ",
    "fbgemm_fp8": "FBGEMM FP8",
    "higgs": "HIGGS",
    "hqq": "HQQ",
    "modelopt": "ModelOpt",
    "mxfp4": "MXFP4",
    "quanto": "Quanto",
    "spqr": "SpQR",
    "torchao": "torchao",
    "vptq": "VPTQ",
    "brand\x1b[31mnew": "brand[31mnew",
}


@pytest.mark.parametrize("method", REFUSED)
def test_other_methods_are_refused_by_name(method: str, tmp_path: Path) -> None:
    error = _refusal(tmp_path, {"quant_method": method})
    assert error.message == f"the checkpoint is quantized with {REFUSED[method]}, which cannot be read"
    assert error.hint is not None
    assert "the model it was made from" in error.hint


def test_an_unknown_method_is_refused(tmp_path: Path) -> None:
    assert "quantized with an unknown method" in _refusal(tmp_path, {"bits": 4}).message


def test_modelopt_shows_in_a_file_of_its_own(tmp_path: Path) -> None:
    (write_tiny_llama(tmp_path) / "hf_quant_config.json").write_text("{}")
    with pytest.raises(UnsupportedModelError, match="quantized with ModelOpt"):
        dequantized(open_checkpoint(tmp_path))


LAYOUTS: dict[str, tuple[dict[str, Any], str]] = {
    "marlin": ({"quant_method": "gptq", "checkpoint_format": "marlin"}, r"GPTQ \(layout marlin\)"),
    "old marlin": ({"quant_method": "gptq", "is_marlin_format": True}, r"GPTQ \(layout marlin\)"),
    "2:4": ({"sparsity_config": {"format": "sparse-24-bitmask"}}, r"\(sparse-24-bitmask\)"),
    "marlin 2:4": ({"format": "marlin-24"}, r"\(marlin-24\)"),
    "nvfp4": ({"format": "nvfp4-pack-quantized"}, r"\(nvfp4-pack-quantized\)"),
    "mxfp4": ({"format": "mxfp4-pack-quantized"}, r"\(mxfp4-pack-quantized\)"),
    "not compressed": ({"format": "dense"}, r"\(dense\)"),
    "3 bits": ({"config_groups": {"g": {"weights": {"num_bits": 3, "strategy": "channel"}}}}, r"\(3 bits\)"),
    "another strategy": (
        {"config_groups": {"g": {"weights": {"num_bits": 4, "strategy": "tensor_group"}}}},
        r"\(strategy tensor_group\)",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_forms_that_are_not_read_are_named(name: str, tmp_path: Path) -> None:
    changes, message = LAYOUTS[name]
    settings = {**CASES["compressed-packed-4"].settings, **changes}
    error = _refusal(tmp_path, settings)
    assert error.message.endswith("which cannot be read")
    with pytest.raises(UnsupportedModelError, match=message):
        dequantized(open_checkpoint(tmp_path))


def test_gptq_in_3_bits_is_refused(tmp_path: Path) -> None:
    def narrow(stored: Stored) -> None:
        for name, (dtype, values) in list(stored.items()):
            if name.endswith("qzeros"):
                stored[name] = (dtype, values[:, : values.shape[1] // 4 * 3])

    checkpoint = open_checkpoint(rewrite(tmp_path, narrow, "gptq-4"))
    with pytest.raises(UnsupportedModelError, match=r"GPTQ \(3 bits\)"):
        dequantized(checkpoint)


BASES = {
    "one": ("base_model: org/Base-7B\n", "org/Base-7B"),
    "a list": ("base_model:\n- org/Base-7B\n- org/other\n", "org/Base-7B"),
    "windows": ("license: mit\r\nbase_model: org/Base-7B\r\n", "org/Base-7B"),
    "no name of the hub": ("base_model: '/home/me/model'\n", None),
    "control characters": ('base_model: "org/ba\\e[31mse"\n', None),
    "several lines": ('base_model: "org/base\\nerror: all is lost"\n', None),
    "endless": (f"base_model: org/{'x' * 200}\n", None),
    "not a name": ("base_model: {a: b}\n", None),
    "not yaml": ("base_model: [org/base\n", None),
    "too deep": (f"base_model: {'[' * 5000}\n", None),
}


@pytest.mark.parametrize("name", BASES)
def test_the_hint_names_the_base_in_the_model_card(name: str, tmp_path: Path) -> None:
    front, base = BASES[name]
    error = _refusal(tmp_path, {"quant_method": "awq"}, card=f"---\n{front}---\n\n# A model\n")
    assert error.hint is not None
    if base is None:
        assert "the model it was made from" in error.hint
    else:
        assert error.hint == f"convert its unquantized base, {base}"


def test_the_hint_names_what_config_json_was_loaded_from(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path)
    edit_json(tmp_path / "config.json", _name_or_path="org/Base-7B")
    error = _refusal(tmp_path, {"quant_method": "hqq"}, write=False)
    assert error.hint == "convert its unquantized base, org/Base-7B"


@pytest.mark.parametrize("origin", ["Base-7B", "/home/me/Base-7B", "org/tiny-awq", 7])
def test_a_directory_or_the_model_itself_is_no_base(origin: object, tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "tiny-awq")
    edit_json(directory / "config.json", _name_or_path=origin)
    error = _refusal(directory, {"quant_method": "awq"}, write=False)
    assert error.hint is not None
    assert "the model it was made from" in error.hint


def _refusal(
    directory: Path, settings: dict[str, Any], card: str | None = None, *, write: bool = True
) -> UnsupportedModelError:
    if write:
        write_tiny_llama(directory)
    edit_json(directory / "config.json", quantization_config=settings)
    if card is not None:
        (directory / "README.md").write_bytes(card.encode())
    with pytest.raises(UnsupportedModelError) as caught:
        dequantized(open_checkpoint(directory))
    assert caught.value.message.isprintable()
    return caught.value
