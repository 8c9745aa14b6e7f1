"""SentencePiece vocabularies tokenize alike in llama.cpp, whether from tokenizer.model or tokenizer.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from localllm.checkpoint import Checkpoint
from localllm.conversion.convert import convert
from localllm.conversion.tokenizer_json import adds_space, scores_of_merges
from localllm.conversion.tokens import TokenType
from localllm.conversion.vocabulary import build_vocabulary
from localllm.errors import TokenizerError
from tests.conversion.tiny_families import write_tiny_family

FOREIGN = "llama2/keras-hub-small-spm"


@pytest.mark.parametrize("kind", ["llama", "llama_export"])
def test_models_of_another_type_are_refused(kind: str, material: Path, tmp_path: Path) -> None:
    """Words and unigrams: llama.cpp would abort, or tokenize them wrongly."""
    directory = write_tiny_family(tmp_path / "phi3", "phi3")
    name = f"{kind}_test_vocab.spm" if kind == "llama" else f"{kind}_vocab.spm"
    shutil.copy(material / FOREIGN / name, directory / "tokenizer.model")
    (directory / "tokenizer_config.json").unlink()
    with pytest.raises(TokenizerError):
        convert(directory, output=tmp_path / "x.gguf", name="x")
    assert not (tmp_path / "x.gguf").exists()


def test_a_larger_tokenizer_model_belongs_to_another_model(material: Path) -> None:
    """49,954 pieces lie beside a tokenizer.json of 32,000, which is the one that fits the embedding."""
    source = material / "llama2" / "llama-13b-v1-xft"
    checkpoint = Checkpoint(source, config={}, tensors={})
    assert build_vocabulary(checkpoint, 32_000).source == "tokenizer.json"
    assert build_vocabulary(checkpoint, 49_954).source == "tokenizer.model"


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "added_tokens.json"])
def test_added_tokens_of_every_file(file: str, material: Path, tmp_path: Path) -> None:
    """Those behind the last row are left out."""
    source = material / "weights" / "stories260K-hf-derived"
    shutil.copy(source / "tokenizer.model", tmp_path)
    entries = {512: "<|turn|>", 513: "<thought>", 514: "<late>"}
    contents: dict[str, Any] = {
        "tokenizer.json": {"added_tokens": [{"id": i, "content": text} for i, text in entries.items()]},
        "tokenizer_config.json": {
            "added_tokens_decoder": {str(i): {"content": t} for i, t in entries.items()}
        },
        "added_tokens.json": {text: i for i, text in entries.items()},
    }
    (tmp_path / file).write_text(json.dumps(contents[file]))
    config = contents[file] if file == "tokenizer_config.json" else {}
    checkpoint = Checkpoint(tmp_path, config={}, tensors={}, tokenizer_config=config)
    vocabulary = build_vocabulary(checkpoint, 514)
    assert vocabulary.tokens[512:] == ["<|turn|>", "<thought>"]
    assert vocabulary.types[513] == TokenType.USER_DEFINED
    assert list(vocabulary.beyond.values()) == ["<late>"]


def test_scores_are_ranks_of_the_first_pair() -> None:
    merges: list[str | list[str]] = ["a b", ["c", "d"], "ab cd", "abc d"]
    tokens = ["a", "<0x0A>", "ab", "cd", "abcd", "zz"]
    assert scores_of_merges(tokens, merges) == {
        "a": 0.0,
        "<0x0A>": 0.0,
        "ab": 0.0,
        "cd": -1.0,
        "abcd": -2.0,
        "zz": -1e9,
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"normalizer": {"type": "Prepend", "prepend": "_"}}', True),
        ('{"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend"}]}}', True),
        ('{"normalizer": {"type": "Replace"}}', False),
        ('{"normalizer": null, "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "first"}}', True),
        ('{"pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "never"}}', False),
        ('{"pre_tokenizer": {"type": "Metaspace", "add_prefix_space": false}}', False),
    ],
)
def test_the_space_in_front(content: str, expected: bool) -> None:
    assert adds_space(json.loads(content)) is expected
