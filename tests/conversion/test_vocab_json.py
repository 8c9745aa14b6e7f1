"""Checkpoints of the days before tokenizer.json: vocab.json and merges.txt of a class that is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localllm.checkpoint import Checkpoint
from localllm.conversion.tokens import TokenType, Vocabulary
from localllm.conversion.verify import verify_tokenization
from localllm.conversion.vocabulary import build_vocabulary
from localllm.errors import TokenizerError
from tests.conversion.tiny_tokenizer import ADDED, SPECIALS, tiny_tokenizer
from tests.conversion.vocabulary_files import write_vocabulary

ROWS = 288


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    model = tiny_tokenizer()["model"]
    merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in model["merges"]), ""])
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8", newline="")
    (tmp_path / "added_tokens.json").write_text(json.dumps({ADDED: len(model["vocab"])}))
    return tmp_path


def opened(directory: Path, config: dict[str, Any] | None = None, **tokenizer_config: Any) -> Checkpoint:
    return Checkpoint(directory, config=config or {}, tensors={}, tokenizer_config=tokenizer_config)


def verified(checkpoint: Checkpoint) -> Vocabulary:
    vocabulary = build_vocabulary(checkpoint, ROWS)
    path = write_vocabulary(checkpoint.directory, checkpoint, vocabulary)
    assert verify_tokenization(path, checkpoint, vocabulary.source) == []
    return vocabulary


@pytest.mark.parametrize(
    ("name", "pre"),
    [("GPT2Tokenizer", "gpt-2"), ("Qwen2Tokenizer", "qwen2"), ("Qwen2TokenizerFast", "qwen2")],
)
def test_what_the_class_adds_is_known(name: str, pre: str, directory: Path) -> None:
    vocabulary = verified(opened(directory, tokenizer_class=name))
    assert (vocabulary.source, vocabulary.pre, vocabulary.beyond) == ("vocab.json", pre, {})
    assert vocabulary.merges == [" ".join(pair) for pair in tiny_tokenizer()["model"]["merges"]]
    types = dict(zip(vocabulary.tokens, vocabulary.types, strict=True))
    assert types["<|endoftext|>"] == TokenType.CONTROL
    assert types[ADDED] == TokenType.USER_DEFINED
    assert types["the"] == TokenType.NORMAL


def test_special_tokens_of_the_side_files(directory: Path) -> None:
    named = {"pad_token": "the", "additional_special_tokens": 7, "eos_token": {"content": SPECIALS[1]}}
    (directory / "special_tokens_map.json").write_text(json.dumps(named))
    vocabulary = verified(opened(directory, {"model_type": "gpt2"}, bos_token=ADDED))
    types = dict(zip(vocabulary.tokens, vocabulary.types, strict=True))
    assert types["the"] == types[SPECIALS[1]] == types[ADDED] == TokenType.CONTROL


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_line_ends_of_merges(ends: str, directory: Path) -> None:
    path = directory / "merges.txt"
    path.write_text(path.read_text("utf-8").replace("\n", ends), encoding="utf-8", newline="")
    assert verified(opened(directory, tokenizer_class="GPT2Tokenizer")).merges


@pytest.mark.parametrize("name", ["CodeGenTokenizer", "BloomTokenizer", 7, None])
def test_other_classes_are_refused(name: Any, directory: Path) -> None:
    with pytest.raises(TokenizerError, match=r"needs a tokenizer\.json") as caught:
        build_vocabulary(opened(directory, tokenizer_class=name), ROWS)
    assert "save it again" in str(caught.value.hint)


def test_a_space_in_front_is_refused(directory: Path) -> None:
    with pytest.raises(TokenizerError, match="puts a space in front of every text"):
        build_vocabulary(opened(directory, tokenizer_class="GPT2Tokenizer", add_prefix_space=True), ROWS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("merges.txt", None, "neither tokenizer.json nor merges.txt"),
        ("merges.txt", "#version: 0.2\n", "no merges"),
        ("merges.txt", "#version: 0.2\nt h e\n", "a merge is not a pair"),
        ("vocab.json", "[]", "not an object"),
        ("vocab.json", '{"a": "b"}', "an id is not an integer"),
        ("added_tokens.json", '{"a": "b"}', "does not map texts to ids"),
        ("added_tokens.json", "[]", "does not map texts to ids"),
    ],
)
def test_damaged_files_are_refused(name: str, content: str | None, message: str, directory: Path) -> None:
    if content is None:
        (directory / name).unlink()
    else:
        (directory / name).write_text(content)
    with pytest.raises(TokenizerError, match=message) as caught:
        build_vocabulary(opened(directory, tokenizer_class="GPT2Tokenizer"), ROWS)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["gpt2/gpt2-hub-copy", "gpt2/gpt2-hub-copy-onnx"])
def test_both_ways_lead_to_the_same(name: str, material: Path, tmp_path: Path) -> None:
    whole = build_vocabulary(Checkpoint(material / name, config={}, tensors={}), 50_257)
    for file in ("vocab.json", "merges.txt"):
        (tmp_path / file).write_bytes((material / name / file).read_bytes())
    parts = build_vocabulary(opened(tmp_path, {"model_type": "gpt2"}), 50_257)
    assert (parts.tokens, parts.types, parts.merges, parts.pre) == (
        whole.tokens,
        whole.types,
        whole.merges,
        whole.pre,
    )
