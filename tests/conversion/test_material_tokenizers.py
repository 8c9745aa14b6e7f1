"""Every real tokenizer in the test material tokenizes a few hundred lines in llama.cpp as in its library."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from localllm.checkpoint import Checkpoint
from localllm.conversion.families import FAMILIES
from localllm.conversion.verify import verify_tokenization
from localllm.conversion.vocabulary import build_vocabulary
from localllm.errors import TokenizerError
from localllm.native.vocabulary import tokenize_with_file
from tests.conversion.vocabulary_files import write_vocabulary

_DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "material"
MATERIAL = Path(os.environ.get("LOCALLLM_MATERIAL") or _DEFAULT)
_WORDS = "no token for byte 0x00"
_UNIGRAMS = "differently from this model's tokenizer"

# what cannot be converted -> what the refusal says
REFUSED = {
    # SentencePiece models of words, and toys without byte tokens
    "gemma/keras-hub-small-spm/gemma3_test_vocab.spm": _WORDS,
    "gemma/keras-hub-small-spm/gemma3n_test_vocab.spm": _WORDS,
    "gemma/keras-hub-small-spm/gemma4_test_vocab.spm": _WORDS,
    "gemma/keras-hub-small-spm/gemma_test_vocab.spm": _WORDS,
    "llama2/keras-hub-small-spm/llama_test_vocab.spm": _WORDS,
    "llama2/keras-hub-small-spm/mistral_test_vocab.spm": _WORDS,
    "llama2/keras-hub-small-spm/no_special_token_vocab.spm": _WORDS,
    "llama2/keras-hub-small-spm/phi3_test_vocab.spm": _WORDS,
    # SentencePiece models of unigrams, which normalize (NFKC) besides
    "gemma/keras-hub-small-spm/gemma_export_vocab.spm": _UNIGRAMS,
    "llama2/keras-hub-small-spm/llama_export_vocab.spm": _UNIGRAMS,
    # merges of three parts, which the tokenizers package refuses, too
    "llama2/onnxruntime-ext/tokenizer.json": "a merge is not a pair of tokens",
    # a toy without a token for `{`: tokenizers forgets the character before it merges, llama.cpp after
    "weights/tiny-bloom-caikit/tokenizer.json": "differently from this model's tokenizer",
    # vocab.json alone
    "qwen/qwen2-sophgo/vocab.json": "neither tokenizer.json nor merges.txt",
    "qwen/qwen3-sophgo/vocab.json": "neither tokenizer.json nor merges.txt",
}


def _tokenizers() -> list[str]:
    """Return the paths of everything that holds a tokenizer, whatever its name."""
    found = [path for path in sorted(MATERIAL.rglob("*")) if path.is_file() and _holds_tokenizer(path)]
    return [path.relative_to(MATERIAL).as_posix() for path in found]


def _holds_tokenizer(path: Path) -> bool:
    if path.suffix == ".json" and path.name != "vocab.json":
        with path.open(encoding="utf-8", errors="replace") as file:
            return '"added_tokens"' in file.read(2000)
    return path.name == "vocab.json" or path.suffix in (".model", ".spm")


def _checkpoint(tokenizer: Path, directory: Path) -> Checkpoint:
    """Return a checkpoint with `tokenizer` alone and the configuration that lies beside it."""
    is_pair = tokenizer.name == "vocab.json"
    name = "tokenizer.model" if tokenizer.suffix == ".spm" else tokenizer.name
    shutil.copyfile(tokenizer, directory / (name if is_pair or name.endswith(".model") else "tokenizer.json"))
    for beside in ("merges.txt", "added_tokens.json", "special_tokens_map.json") if is_pair else ():
        if (tokenizer.parent / beside).is_file():
            shutil.copyfile(tokenizer.parent / beside, directory / beside)
    config, tokenizer_config = (
        json.loads(path.read_text("utf-8")) if path.is_file() else {}
        for path in (tokenizer.parent / "config.json", tokenizer.parent / "tokenizer_config.json")
    )
    return Checkpoint(directory, config=config, tensors={}, tokenizer_config=tokenizer_config)


def _rows(checkpoint: Checkpoint) -> int:
    """Return how many rows an embedding for every token of the files would have."""
    ids: list[int] = [int(key) for key in checkpoint.tokenizer_config.get("added_tokens_decoder", {})]
    content = checkpoint.json("tokenizer.json")
    if checkpoint.file("tokenizer.model"):
        from sentencepiece import SentencePieceProcessor

        pieces: Any = SentencePieceProcessor(
            model_proto=(checkpoint.directory / "tokenizer.model").read_bytes()
        )
        ids.append(pieces.vocab_size() - 1)
    elif content:
        ids += [*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"])]
    else:
        ids += checkpoint.json("vocab.json").values()
    return max(ids) + 1


@pytest.mark.skipif(not MATERIAL.is_dir(), reason="needs the test material: set LOCALLLM_MATERIAL")
@pytest.mark.parametrize("name", _tokenizers())
def test_a_tokenizer_and_llama_cpp_agree(name: str, material: Path, tmp_path: Path) -> None:
    checkpoint = _checkpoint(material / name, tmp_path)
    if name in REFUSED:
        with pytest.raises(TokenizerError, match=REFUSED[name]) as caught:
            _verify(checkpoint)
        assert caught.value.hint
        assert "\n" not in caught.value.message
    else:
        _verify(checkpoint)


def _verify(checkpoint: Checkpoint) -> None:
    kinds = (family.vocabulary for family in FAMILIES if checkpoint.architecture in family.architectures)
    vocabulary = build_vocabulary(checkpoint, _rows(checkpoint), kind=next(kinds, None))
    assert vocabulary.beyond == {}
    path = write_vocabulary(checkpoint.directory, checkpoint, vocabulary)
    verify_tokenization(path, checkpoint, vocabulary.source)


# a third tokenizer library's ids -> the tokenizer they belong to
VECTORS = {
    "gpt2/gpt2-hub-copy/tokenizer.json": ("gpt2_encoded_tokens.json", "distilgpt2"),
    "gpt2/gpt2-hub-copy/vocab.json": ("gpt2_encoded_tokens.json", "distilgpt2"),
    "assembled/llama-3.2/tokenizer.json": (
        "llama_3.2_encoded.json",
        "pcuenq/Llama-3.2-1B-Instruct-tokenizer",
    ),
    "llama2/llama-2-7b-xft/tokenizer.model": (
        "llama_encoded.json",
        "coreml-projects/Llama-2-7b-chat-coreml",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_vectors_of_another_library(name: str, material: Path, tmp_path: Path) -> None:
    checkpoint = _checkpoint(material / name, tmp_path)
    path = write_vocabulary(tmp_path, checkpoint, build_vocabulary(checkpoint, _rows(checkpoint)))
    single, key = VECTORS[name]
    folder = material / "encode_vectors_swift"
    long = json.loads((folder / single).read_text("utf-8"))
    short = json.loads((folder / "tokenizer_tests.json").read_text("utf-8"))[key]
    expected = {
        long["text"]: long["token_ids"],
        **{item["input"]: item["encoded"]["input_ids"] for item in short},
    }
    found = tokenize_with_file(path, list(expected)).plain
    for (text, ids), ours in zip(expected.items(), found, strict=True):
        assert ours == [index for index in ids if index not in (1, 128000)], text  # without BOS
