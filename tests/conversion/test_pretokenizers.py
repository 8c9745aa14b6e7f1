"""A pre-tokenizer is recognised by its structure; llama.cpp then splits text as the tokenizer does."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from localllm.checkpoint import Checkpoint
from localllm.conversion.pretokenizers import recognise
from localllm.conversion.verify import verify_tokenization
from localllm.conversion.vocabulary import build_vocabulary
from localllm.errors import TokenizerError
from tests.conversion.tiny_tokenizer import tiny_tokenizer
from tests.conversion.vocabulary_files import write_vocabulary

# tokenizer file in the test material -> llama.cpp's name
REAL = {
    "assembled/llama-3.2/tokenizer.json": "llama-bpe",
    "assembled/qwen2.5/tokenizer.json": "qwen2",
    "smollm/smollm2-135m-instruct/SmolLM2-135M-Instruct-Tokenizer.json": "smollm",
    "gpt2/gpt2-hub-copy-onnx/tokenizer.json": "gpt-2",
    "gpt2/gpt2-hub-copy/tokenizer.json": "gpt-2",
    "gpt_neox/pythia-410m-chatbot/tokenizer.json": "gpt-2",
    "granite/tiny_granite_vision/tokenizer.json": "gpt-2",
    "lora/lab_08/tokenizer.json": "gpt-2",
    "olmo/olmo-tokenizers/allenai_dolma2.json": "dbrx",
    "olmo/olmo-tokenizers/allenai_eleuther-ai-gpt-neox-20b-pii-special.json": "gpt-2",
    "olmo/olmo-tokenizers/allenai_gpt-neox-olmo-dolma-v1_5.json": "gpt-2",
}


def vocabulary_file(tokenizer: Path, directory: Path, pre: str | None = None) -> tuple[Path, Checkpoint]:
    """Write a GGUF file that holds the vocabulary of `tokenizer` alone; return it and its checkpoint."""
    content = json.loads(tokenizer.read_text(encoding="utf-8"))
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    checkpoint = Checkpoint(directory, config={}, tensors={})
    used = [*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"])]
    vocabulary = build_vocabulary(checkpoint, max(used) + 1, pre)
    return write_vocabulary(directory, checkpoint, vocabulary), checkpoint


@pytest.mark.parametrize(("tokenizer", "name"), REAL.items())
def test_real_tokenizers_are_recognised_and_split_alike(
    tokenizer: str, name: str, material: Path, tmp_path: Path
) -> None:
    path, checkpoint = vocabulary_file(material / tokenizer, tmp_path)
    assert recognise(checkpoint.json("tokenizer.json")) == name
    verify_tokenization(path, checkpoint, "tokenizer.json")


@pytest.mark.parametrize("tokenizer", REAL)
def test_added_tokens_change_nothing(tokenizer: str, material: Path) -> None:
    """The reference hashes the tokens of a sample, which an added token among them would change."""
    content = json.loads((material / tokenizer).read_text(encoding="utf-8"))
    grown = copy.deepcopy(content)
    grown["added_tokens"].append({"id": 999_999, "content": "Hello", "special": False})
    assert recognise(grown) == recognise(content)
    without = {**content, "added_tokens": []}
    assert recognise(without) == recognise(content)


@pytest.mark.parametrize("pre", ["llama-bpe", "qwen2"])
def test_tiny_tokenizers_split_alike(pre: str, tmp_path: Path) -> None:
    source = tmp_path / "source.json"
    source.write_text(json.dumps(tiny_tokenizer(pre)), encoding="utf-8")
    path, checkpoint = vocabulary_file(source, tmp_path)
    assert recognise(checkpoint.json("tokenizer.json")) == pre
    verify_tokenization(path, checkpoint, "tokenizer.json")


@pytest.mark.parametrize(("tokenizer", "wrong"), [(next(iter(REAL)), "gpt-2"), (list(REAL)[1], "smollm")])
def test_a_wrong_name_is_found_out(tokenizer: str, wrong: str, material: Path, tmp_path: Path) -> None:
    path, checkpoint = vocabulary_file(material / tokenizer, tmp_path, pre=wrong)
    with pytest.raises(TokenizerError, match=r"llama\.cpp would tokenize .* differently") as caught:
        verify_tokenization(path, checkpoint, "tokenizer.json")
    assert "--pre" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("pre_tokenizer", "steps"),
    [
        (None, "none"),
        ({"type": "Whitespace"}, "Whitespace"),
        ({"type": "ByteLevel", "use_regex": False}, "ByteLevel"),
        (
            {
                "type": "Sequence",
                "pretokenizers": [{"type": "Split", "pattern": {"Regex": "x"}}, {"type": "ByteLevel"}],
            },
            "Split, ByteLevel",
        ),
        ("nonsense", "none"),
    ],
)
def test_unknown_structures_are_refused(pre_tokenizer: Any, steps: str) -> None:
    with pytest.raises(TokenizerError, match=rf"is not known \(steps: {steps}\)") as caught:
        recognise({"pre_tokenizer": pre_tokenizer})
    assert "--pre" in str(caught.value.hint)
