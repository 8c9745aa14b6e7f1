"""A vocabulary that llama.cpp would use otherwise than the model's own tokenizer is found out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localllm.checkpoint import Checkpoint
from localllm.conversion.source_tokenizer import open_source
from localllm.conversion.tokenizer_samples import sample_lines
from localllm.conversion.tokens import TokenType, Vocabulary
from localllm.conversion.verify import verify_tokenization
from localllm.conversion.vocabulary import build_vocabulary
from localllm.errors import TokenizerError
from tests.conversion.tiny_tokenizer import ADDED, SPECIALS, tiny_tokenizer
from tests.conversion.vocabulary_files import write_vocabulary

ROWS = 288
CUSTOM = "<|custom|>"  # llama.cpp knows the types of others by their texts


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return tokenizer_checkpoint(tmp_path, tiny_tokenizer())


def tokenizer_checkpoint(directory: Path, content: dict[str, Any]) -> Checkpoint:
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return Checkpoint(directory, config={}, tensors={})


def remarks(checkpoint: Checkpoint, vocabulary: Vocabulary) -> list[str]:
    path = write_vocabulary(checkpoint.directory, checkpoint, vocabulary)
    return verify_tokenization(path, checkpoint, vocabulary.source)


def test_there_are_a_few_hundred_lines_of_all_kinds() -> None:
    lines = sample_lines()
    assert len(lines) == len(set(lines)) > 300
    characters = set("".join(lines))
    assert {chr(byte) for byte in range(32, 127)} <= characters
    assert {"\t", "\n", "\r", "\x1b", "\u00a0", "\u0301", "\u200d", "你", "т", "\U0001f680"} <= characters
    assert sample_lines() is lines


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (CUSTOM, TokenType.NORMAL),  # would not be found in a prompt
        (CUSTOM, TokenType.USER_DEFINED),  # would be found in what a user types
        (ADDED, TokenType.CONTROL),  # would not be found in plain text
        (ADDED, TokenType.NORMAL),
    ],
)
def test_a_wrong_type_is_found_out(text: str, kind: TokenType, tmp_path: Path) -> None:
    content = tiny_tokenizer()
    content["added_tokens"].append({**content["added_tokens"][0], "id": 275, "content": CUSTOM})
    checkpoint = tokenizer_checkpoint(tmp_path, content)
    vocabulary = build_vocabulary(checkpoint, ROWS)
    assert remarks(checkpoint, vocabulary) == []
    vocabulary.types[vocabulary.ids[text]] = int(kind)
    with pytest.raises(TokenizerError, match="differently"):
        remarks(checkpoint, vocabulary)


@pytest.mark.parametrize("change", ["merges", "tokens"])
def test_a_wrong_vocabulary_is_found_out(change: str, checkpoint: Checkpoint) -> None:
    vocabulary = build_vocabulary(checkpoint, ROWS)
    if change == "merges":
        assert vocabulary.merges
        vocabulary.merges = vocabulary.merges[:-2]
    else:
        first, second = vocabulary.ids["the"], vocabulary.ids["Hello"]
        vocabulary.tokens[first], vocabulary.tokens[second] = "Hello", "the"
    with pytest.raises(TokenizerError, match="differently"):
        remarks(checkpoint, vocabulary)


def test_tokens_that_take_spaces_are_looked_for_alone(tmp_path: Path) -> None:
    content = tiny_tokenizer()
    content["added_tokens"][1]["lstrip"] = content["added_tokens"][2]["rstrip"] = True
    checkpoint = tokenizer_checkpoint(tmp_path, content)
    texts = open_source(checkpoint, "tokenizer.json").special_texts
    assert SPECIALS[1] in texts
    assert f"a{SPECIALS[0]}b" in texts
    assert f"a{SPECIALS[1]}b" not in texts
    assert remarks(checkpoint, build_vocabulary(checkpoint, ROWS)) == []


def test_lines_are_normalized_as_the_tokenizer_would(tmp_path: Path) -> None:
    content = {**tiny_tokenizer(), "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}}
    lines = open_source(tokenizer_checkpoint(tmp_path, content), "tokenizer.json").plain_texts
    assert len(lines) >= len(sample_lines())
    assert not set(sample_lines()) <= set(lines)


def test_lost_merges_are_remarked(material: Path, tmp_path: Path) -> None:
    """`▁t` is in this vocabulary, and no pair makes it."""
    source = material / "lora/tuned_llama_with_added_tokens/tokenizer.json"
    checkpoint = tokenizer_checkpoint(tmp_path, json.loads(source.read_text("utf-8")))
    found = remarks(checkpoint, build_vocabulary(checkpoint, 32_001))
    assert found == [
        "tokenizer.json lacks merges; llama.cpp makes their tokens all the same, as SentencePiece would"
    ]


def test_a_tokenizer_its_own_library_refuses(tmp_path: Path) -> None:
    content = tiny_tokenizer()
    content["model"]["merges"].append(["quiet", "harbour"])  # tokens there are none of
    checkpoint = tokenizer_checkpoint(tmp_path, content)
    with pytest.raises(TokenizerError, match="the `tokenizers` package cannot use") as caught:
        remarks(checkpoint, build_vocabulary(checkpoint, ROWS))
    assert caught.value.hint
