"""The doctor: one broken checkpoint each, found by `--check` and by `convert`, which then writes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localllm.gguf_file import read_header
from tests.adapters.tiny_adapters import PLAIN, write_tiny_adapter
from tests.cli.process import files_below, localllm
from tests.conversion.tiny_llama import (
    Tensors,
    TinyLlama,
    cast,
    edit_json,
    tiny_tensors,
    write_safetensors,
    write_tiny_llama,
)
from tests.conversion.tiny_tokenizer import SPECIALS, tiny_tokenizer

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
BFLOAT = TinyLlama("BF16")
UP = "model.layers.1.mlp.up_proj.weight"


@dataclass(frozen=True)
class Case:
    """How to break a checkpoint, and what is to be said about it."""

    break_it: Callable[[Path], Any]
    message: str
    fix: str
    spec: TinyLlama = BFLOAT
    arguments: tuple[str, ...] = ()


def weights(directory: Path, change: Callable[[Tensors], Any], dtype: str = "BF16") -> None:
    tensors = tiny_tensors(TinyLlama(dtype))
    change(tensors)
    encoded = {name: (dtype, cast(values, dtype)) for name, values in tensors.items()}
    write_safetensors(directory / "model.safetensors", encoded)


def put(value: float) -> Callable[[Tensors], Any]:
    def change(tensors: Tensors) -> None:
        tensors[UP][95, 63] = value

    return change


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-64])


def remove(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).unlink()


def awq(directory: Path) -> None:
    edit_json(directory / "config.json", quantization_config={"quant_method": "awq", "bits": 4})
    (directory / "README.md").write_text("---\nbase_model: some-org/some-model\n---\n")


def edit_tokenizer(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    change(content)
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")


def unknown_splits(directory: Path) -> None:
    split = {"type": "Split", "pattern": {"Regex": "[aeiou]+"}, "behavior": "Isolated", "invert": False}
    edit_tokenizer(directory, lambda c: c["pre_tokenizer"]["pretokenizers"].__setitem__(0, split))


def token_without_row(directory: Path) -> None:
    """As after `add_special_tokens({"pad_token": "[PAD]"})` without `resize_token_embeddings`."""
    rows = max(token["id"] for token in tiny_tokenizer()["added_tokens"]) + 1
    token = {"id": rows, "content": "[PAD]", "special": True}
    edit_tokenizer(directory, lambda c: c["added_tokens"].append({**c["added_tokens"][0], **token}))
    edit_json(directory / "config.json", vocab_size=rows, pad_token_id=rows)
    edit_json(directory / "tokenizer_config.json", pad_token="[PAD]")
    name = "model.embed_tokens.weight"
    weights(directory, lambda t: t.update({name: t[name][:rows].copy()}))


def without_rows(directory: Path) -> None:
    weights(directory, lambda t: t.update({"model.embed_tokens.weight": np.zeros((260, 64), np.float32)}))


def renamed(old: str, new: str) -> Callable[[Path], Any]:
    return lambda d: weights(d, lambda t: t.update({new: t.pop(old)}))


ERRORS: dict[str, Case] = {
    "no configuration": Case(
        lambda d: remove(d, "config.json"), "has no config.json", "checkpoint directory"
    ),
    "damaged configuration": Case(
        lambda d: (d / "config.json").write_text("{"), "config.json is not valid JSON", "again"
    ),
    "unknown architecture": Case(
        lambda d: edit_json(d / "config.json", architectures=["LlamaForCasualLM"]),
        "`LlamaForCasualLM` is not supported",
        "did you mean LlamaForCausalLM",
    ),
    "missing shard": Case(
        lambda d: remove(d, "model-00002-of-00003.safetensors"),
        "model-00002-of-00003.safetensors is missing",
        "copy or download",
        TinyLlama("BF16", shards=3),
    ),
    "truncated shard": Case(
        lambda d: truncate(d / "model-00003-of-00003.safetensors"),
        "model-00003-of-00003.safetensors is not a valid safetensors file",
        "fetch it again",
        TinyLlama("BF16", shards=3),
    ),
    "pickled weights": Case(
        lambda d: (d / "model.safetensors").rename(d / "pytorch_model.bin"),
        "only pickled weights (pytorch_model.bin)",
        "save_pretrained",
    ),
    "stray weights": Case(
        lambda d: shutil.copy(d / "model.safetensors", d / "model-old.safetensors"),
        "is in model-old.safetensors and in model.safetensors",
        "remove the stray weight file",
    ),
    "unfinished merge": Case(
        renamed(UP, UP.replace("up_proj", "up_proj.base_layer")),
        "left over from an unfinished merge",
        "merge",
    ),
    "adapter in the weights": Case(
        lambda d: weights(d, lambda t: t.update({"model.layers.0.mlp.up_proj.lora_A.weight": t[UP][:4]})),
        "left over from an unfinished merge",
        "merge",
    ),
    "missing tensor": Case(
        lambda d: weights(d, lambda t: t.pop(UP)), "the weights lack tensor", "config.json"
    ),
    "unknown tensor": Case(
        renamed(UP, "model.layers.1.mlp.sideways_proj.weight"), "has no place in architecture", "config.json"
    ),
    "missing head": Case(
        lambda d: edit_json(d / "config.json", tie_word_embeddings=False),
        "the output head is not tied to the embedding, but the weights have none",
        "save the model again with its head",
    ),
    "not a number": Case(
        lambda d: weights(d, put(np.nan)), f"tensor `{UP}` contains NaN", "earlier checkpoint"
    ),
    "infinity": Case(lambda d: weights(d, put(-np.inf)), f"tensor `{UP}` contains NaN or inf", "checkpoint"),
    "overflow": Case(
        lambda d: weights(d, put(70000.0), "F32"), "has values too large for f16", "--outtype bf16"
    ),
    "no tokenizer": Case(lambda d: remove(d, *TOKENIZER), "neither tokenizer.json nor", "`--base DIRECTORY`"),
    "damaged tokenizer settings": Case(
        lambda d: (d / "tokenizer_config.json").write_text("[]"),
        "does not hold a JSON object",
        "base model's",
    ),
    "unknown pre-tokenizer": Case(unknown_splits, "pre-tokenizer of tokenizer.json is not known", "--pre"),
    "more tokens than rows": Case(without_rows, "the embedding has only 260 rows", "not resized"),
    "quantized by an unknown method": Case(
        awq,
        "quantized with AWQ, which cannot be read",
        "convert its unquantized base, some-org/some-model",
    ),
    "no base to take files from": Case(
        lambda d: None,
        "no such file or directory: nowhere",
        "localllm list",
        arguments=("--base", "nowhere/"),
    ),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory to work in, with nothing else in it."""
    place = tmp_path / "place"
    place.mkdir()
    return place


@pytest.mark.parametrize("name", ERRORS)
def test_what_stops_a_conversion(name: str, place: Path) -> None:
    case = ERRORS[name]
    case.break_it(write_tiny_llama(place / "tiny", case.spec))
    before = files_below(place)
    checked = localllm("convert", "./tiny", "--check", "--json", *case.arguments, cwd=place)
    content = json.loads(checked.stdout)
    assert checked.returncode == 1, checked.stderr
    if "error" in content:  # not even a directory to look into
        message, fix = content["error"]["message"], content["error"]["hint"]
    else:
        errors = [finding for finding in content["data"]["findings"] if finding["severity"] == "error"]
        message, fix = errors[0]["message"], errors[0]["fix"]
        assert len(errors) == 1
        assert "\n" not in message
    assert case.message in message
    assert case.fix in fix
    converted = localllm("convert", "./tiny", "-o", "made/tiny.gguf", *case.arguments, cwd=place)
    assert converted.returncode == 1
    assert f"error: {message}\n" in converted.stderr
    assert converted.stdout == ""
    assert files_below(place) == before


def adapter_beside(directory: Path) -> None:
    adapter = write_tiny_adapter(directory.parent / "adapter", PLAIN)
    for path in adapter.iterdir():
        shutil.move(path, directory)
    adapter.rmdir()


def base_beside(directory: Path) -> None:
    write_tiny_llama(directory.parent / "base", TinyLlama("BF16"))
    remove(directory, *TOKENIZER)


def named_base(directory: Path) -> None:
    base_beside(directory)
    edit_json(directory / "config.json", _name_or_path="base")


def saved_twice(directory: Path) -> None:
    weights(directory, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].copy()}))


def another_head(directory: Path) -> None:
    weights(directory, lambda t: t.update({"lm_head.weight": -t["model.embed_tokens.weight"]}))


def ends_otherwise(directory: Path) -> None:
    text = "{% for m in messages %}{{ m.content }}" + SPECIALS[0] + "{% endfor %}"
    (directory / "chat_template.jinja").write_text(text)


FIXED: dict[str, tuple[Case, str]] = {
    "vocabulary size": (
        Case(lambda d: edit_json(d / "config.json", vocab_size=280), "using 288", ""),
        "vocabulary-size",
    ),
    "tokenizer of --base": (
        Case(base_beside, "taken from its base model, base", "", arguments=("--base", "base")),
        "tokenizer-files",
    ),
    "tokenizer of a known base": (Case(named_base, "taken from its base model", ""), "tokenizer-files"),
    "an added token without a row": (
        Case(token_without_row, "left out the added token '[PAD]'", ""),
        "added-token",
    ),
    "tied head saved twice": (Case(saved_twice, "identical to the token embedding", ""), "left-out"),
    "another end of answers": (Case(ends_otherwise, "both are written", ""), "end-of-sequence"),
}
NOTED: dict[str, tuple[Case, str]] = {
    "code of its own": (
        Case(lambda d: edit_json(d / "config.json", auto_map={"AutoModel": "x.Y"}), "is never run", ""),
        "remote-code",
    ),
    "no template": (
        Case(lambda d: remove(d, "chat_template.jinja"), "no chat template", "--base"),
        "chat-template",
    ),
    "damaged generation settings": (
        Case(lambda d: (d / "generation_config.json").write_text("{,"), "is not used", "base model's"),
        "generation-config",
    ),
    "an adapter beside": (Case(adapter_beside, "holds a LoRA adapter, too", "--adapter"), "adapter"),
    "another head than the embedding": (Case(another_head, "it is kept", "remove the head"), "output-head"),
    "another end of texts": (
        Case(
            lambda d: edit_json(d / "generation_config.json", eos_token_id=256),
            "generation_config.json ends texts with",
            "eos_token",
        ),
        "end-of-sequence",
    ),
}


@pytest.mark.parametrize("name", [*FIXED, *NOTED])
def test_what_is_put_right_or_told(name: str, place: Path) -> None:
    case, topic = {**FIXED, **NOTED}[name]
    case.break_it(write_tiny_llama(place / "tiny", case.spec))
    checked = localllm("convert", "./tiny", "--check", "--json", *case.arguments, cwd=place)
    data = json.loads(checked.stdout)["data"]
    assert checked.returncode == 0, data
    found = [finding for finding in data["findings"] if finding["topic"] == topic]
    assert [finding["severity"] for finding in found] == ["fixed" if name in FIXED else "note"]
    assert case.message in found[0]["message"]
    assert case.fix in str(found[0]["fix"])
    assert data["tensors"] >= 20
    assert data["level"] == "BF16"
    converted = localllm("convert", "./tiny", "-o", "tiny.gguf", *case.arguments, cwd=place)
    assert converted.returncode == 0, converted.stderr
    label = "fixed" if name in FIXED else "note"
    assert f"{label}: {found[0]['message']}\n" in converted.stderr
    assert read_header(place / "tiny.gguf").architecture == "llama"


def test_nothing_wrong(place: Path) -> None:
    write_tiny_llama(place / "tiny", TinyLlama("BF16"))
    result = localllm("convert", "./tiny", "--check", cwd=place)
    assert result.returncode == 0
    assert result.stdout.startswith("can be converted: llama, ")
    assert result.stderr == ""


def test_everything_wrong_at_once_is_told_at_once(place: Path) -> None:
    directory = write_tiny_llama(place / "tiny", TinyLlama("BF16"))
    weights(directory, put(np.nan))
    edit_json(directory / "config.json", auto_map={"AutoModel": "x.Y"}, vocab_size=1)
    remove(directory, *TOKENIZER)
    result = localllm("convert", "./tiny", "--check", cwd=place)
    lines = result.stdout.splitlines()
    assert result.returncode == 1
    assert [line.split(":")[0] for line in lines if not line.startswith("  ")] == [
        "error",
        "error",
        "fixed",
        "note",
        "cannot be converted (2 errors)",
    ]
    assert sum(line.startswith("  fix: ") for line in lines) == 2


def test_an_adapter_is_checked_against_its_base(place: Path) -> None:
    PLAIN.write_base(place / "base")
    write_tiny_adapter(place / "adapter", PLAIN)
    result = localllm("convert", "./adapter", "--check", "--base", "./base", cwd=place)
    assert result.returncode == 0, result.stdout
    assert "28 tensors" in result.stdout
    edit_json(place / "adapter" / "adapter_config.json", r=3)
    result = localllm("convert", "./adapter", "--check", "--base", "./nowhere", cwd=place)
    assert result.returncode == 1
    assert "cannot be converted (2 errors)" in result.stdout


def test_quantizing_takes_missing_files_from_the_base_too(place: Path) -> None:
    base_beside(write_tiny_llama(place / "tiny", BFLOAT))
    alone = localllm("quantize", "./tiny", "-q", "Q8_0", "-o", "x.gguf", cwd=place)
    assert "neither tokenizer.json nor" in alone.stderr
    result = localllm("quantize", "./tiny", "-q", "Q8_0", "-o", "x.gguf", "--base", "base", cwd=place)
    assert result.returncode == 0, result.stderr
    assert read_header(place / "x.gguf").text("tokenizer.chat_template")


def test_a_name_given_is_the_name_that_is_checked(place: Path) -> None:
    """llama.cpp takes a model for Phi-3 whose name says so, and demands tokens of it."""
    directory = write_tiny_llama(place / "myphi3", BFLOAT)
    refused = localllm("convert", directory, "--check", cwd=place)
    assert refused.returncode == 1
    assert "`localllm convert --name`" in refused.stdout
    assert localllm("convert", directory, "--check", "--name", "mine", cwd=place).returncode == 0


def test_quantizing_takes_a_pre_tokenizer_too(place: Path) -> None:
    directory = write_tiny_llama(place / "tiny", BFLOAT)
    unknown_splits(directory)
    command = ("quantize", directory, "-q", "Q8_0", "-o", "x.gguf")
    assert "is not known" in localllm(*command, cwd=place).stderr
    result = localllm(*command, "--pre", "qwen2", cwd=place)
    assert result.returncode == 0, result.stderr
    assert read_header(place / "x.gguf").text("tokenizer.ggml.pre") == "qwen2"
