"""The vocabulary has exactly one distinct token per embedding row, each of the right kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localllm.checkpoint import open_checkpoint
from localllm.conversion.special_tokens import special_token_metadata
from localllm.conversion.tokens import TokenType, Vocabulary, looks_special
from localllm.conversion.verify import verify_tokenization
from localllm.conversion.vocabulary import build_vocabulary
from localllm.errors import TokenizerError
from tests.conversion.tiny_llama import ROWS, edit_json, write_tiny_llama
from tests.conversion.tiny_tokenizer import ADDED, BOS, EOS, SPECIALS, byte_alphabet, tiny_tokenizer
from tests.conversion.vocabulary_files import write_vocabulary

TOOL = 274  # the id of ADDED
_FLAGS = {"special": False, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "tiny-llama")


def built(directory: Path, rows: int = ROWS, pre: str | None = None) -> Vocabulary:
    return build_vocabulary(open_checkpoint(directory), rows, pre)


def test_byte_level_tokens_in_their_places(checkpoint: Path) -> None:
    vocabulary = built(checkpoint)
    assert (vocabulary.model, vocabulary.pre) == ("gpt2", "qwen2")
    assert vocabulary.tokens[:256] == byte_alphabet()
    assert vocabulary.tokens[BOS : EOS + 1] == list(SPECIALS)
    assert vocabulary.tokens[TOOL] == ADDED
    assert set(vocabulary.types[:256]) == {TokenType.NORMAL}
    assert vocabulary.types[BOS] == vocabulary.types[EOS] == TokenType.CONTROL
    assert vocabulary.types[TOOL] == TokenType.USER_DEFINED


def test_rows_without_a_token_become_unused(checkpoint: Path) -> None:
    vocabulary = built(checkpoint)
    assert len(vocabulary.tokens) == len(vocabulary.types) == ROWS
    assert vocabulary.tokens[TOOL + 1 :] == [f"[PAD{i}]" for i in range(TOOL + 1, ROWS)]
    assert set(vocabulary.types[TOOL + 1 :]) == {TokenType.UNUSED}


def test_merges_as_pairs_and_as_strings(checkpoint: Path) -> None:
    model = tiny_tokenizer()["model"]
    pairs = built(checkpoint).merges
    edit_json(
        checkpoint / "tokenizer.json", model={**model, "merges": [" ".join(m) for m in model["merges"]]}
    )
    assert built(checkpoint).merges == pairs
    assert pairs is not None
    assert pairs[0] == "t h"


def test_a_space_inside_a_merge_is_written_in_the_byte_alphabet(checkpoint: Path) -> None:
    model = tiny_tokenizer()["model"]
    edit_json(checkpoint / "tokenizer.json", model={**model, "merges": [["a b", "c"]]})
    assert built(checkpoint).merges == ["a\u0120b c"]


@pytest.mark.parametrize("entry", ["Hello", {"content": "Hello", "special": False}])
def test_what_the_configuration_names_as_special_is_special(entry: Any, checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", unk_token=entry, additional_special_tokens=[ADDED])
    vocabulary = built(checkpoint)
    assert vocabulary.types[vocabulary.tokens.index("Hello")] == TokenType.CONTROL
    assert vocabulary.types[TOOL] == TokenType.CONTROL


def test_added_tokens_only_the_configuration_knows(checkpoint: Path) -> None:
    edit_json(
        checkpoint / "tokenizer_config.json",
        added_tokens_decoder={
            "280": {"content": "<|extra|>", "special": False},
            "281": {"content": "\u2581two\u2581words", "special": False},
            str(TOOL): {"content": "overruled", "special": True},
        },
    )
    vocabulary = built(checkpoint)
    assert (vocabulary.tokens[280], vocabulary.types[280]) == ("<|extra|>", TokenType.CONTROL)
    assert (vocabulary.tokens[281], vocabulary.types[281]) == (" two words", TokenType.USER_DEFINED)
    assert (vocabulary.tokens[TOOL], vocabulary.types[TOOL]) == (ADDED, TokenType.USER_DEFINED)


@pytest.mark.parametrize(
    ("text", "special"),
    [
        ("<pad>", True),
        ("<|im_end|>", True),
        ("<\uff5cbegin\uff5c>", True),
        ("<unused12>", True),
        ("<|open", False),
        ("<tool>", False),
        ("", False),
    ],
)
def test_texts_that_look_special(text: str, special: bool) -> None:
    assert looks_special(text) is special


def test_a_token_beyond_the_embedding_is_refused(checkpoint: Path) -> None:
    with pytest.raises(
        TokenizerError, match=r"'.+' has id 270, but the embedding has only 270 rows"
    ) as caught:
        built(checkpoint, rows=270)
    assert caught.value.hint


def test_negative_ids_are_refused(checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", added_tokens_decoder={"-1": {"content": "x"}})
    with pytest.raises(TokenizerError, match="has id -1"):
        built(checkpoint)


def add_beyond(checkpoint: Path, text: str = "<late>", index: int = ROWS) -> None:
    """Add a token without a row to tokenizer.json."""
    added = [*tiny_tokenizer()["added_tokens"], {**_FLAGS, "id": index, "content": text}]
    edit_json(checkpoint / "tokenizer.json", added_tokens=added)


def test_an_added_token_without_a_row_is_left_out(checkpoint: Path, tmp_path: Path) -> None:
    add_beyond(checkpoint, " quiet", TOOL + 1)  # the samples contain it
    vocabulary = built(checkpoint, rows=TOOL + 1)
    assert list(vocabulary.beyond.values()) == [" quiet"]
    assert len(vocabulary.tokens) == TOOL + 1
    opened = open_checkpoint(checkpoint)
    verify_tokenization(write_vocabulary(tmp_path, opened, vocabulary), opened, "tokenizer.json")


def test_an_added_token_without_a_row_that_the_model_lists_too(checkpoint: Path) -> None:
    model = tiny_tokenizer()["model"]
    add_beyond(checkpoint)
    edit_json(checkpoint / "tokenizer.json", model={**model, "vocab": {**model["vocab"], "<late>": ROWS}})
    assert list(built(checkpoint).beyond.values()) == ["<late>"]


def test_a_padding_token_without_a_row_is_left_out(checkpoint: Path) -> None:
    """As training scripts add one; nothing is padded in a chat."""
    add_beyond(checkpoint)
    edit_json(checkpoint / "tokenizer_config.json", pad_token="<late>")
    edit_json(checkpoint / "config.json", pad_token_id=ROWS)
    vocabulary = built(checkpoint)
    assert list(vocabulary.beyond.values()) == ["<late>"]
    keys = special_token_metadata(open_checkpoint(checkpoint), vocabulary)
    assert "tokenizer.ggml.padding_token_id" not in keys


@pytest.mark.parametrize(
    ("file", "values", "reason"),
    [
        ("tokenizer_config.json", {"eos_token": "<late>"}, "the configuration names it"),
        ("tokenizer_config.json", {"bos_token": {"content": "<late>"}}, "the configuration names it"),
        ("chat_template.json", {"chat_template": "{{ x }}<late>"}, "the chat template uses it"),
        ("config.json", {"eos_token_id": [EOS, ROWS]}, "the configuration names it"),
        ("generation_config.json", {"eos_token_id": ROWS}, "the configuration names it"),
    ],
)
def test_a_token_in_use_without_a_row_is_refused(
    file: str, values: dict[str, Any], reason: str, checkpoint: Path
) -> None:
    add_beyond(checkpoint)
    (checkpoint / "chat_template.jinja").unlink(missing_ok=True)
    edit_json(checkpoint / "tokenizer_config.json", chat_template=None)
    edit_json(checkpoint / file, **values)
    with pytest.raises(
        TokenizerError, match=f"has id {ROWS}, but the embedding has only .*, and {reason}"
    ) as caught:
        built(checkpoint)
    assert "resize_token_embeddings" in str(caught.value.hint)


def test_unused_rows_get_texts_that_no_token_has(checkpoint: Path) -> None:
    tokens = {"280": {"content": f"[PAD{ROWS - 1}]"}, "281": {"content": f"[PAD{ROWS - 2}]", "special": True}}
    edit_json(checkpoint / "tokenizer_config.json", added_tokens_decoder=tokens)
    vocabulary = built(checkpoint)
    assert vocabulary.tokens[280:282] == [f"[PAD{ROWS - 1}]", f"[PAD{ROWS - 2}]"]
    assert vocabulary.tokens[ROWS - 2 :] == [f"[PAD{ROWS - 2}_1]", f"[PAD{ROWS - 1}_1]"]
    assert vocabulary.tokens[282] == "[PAD282]"


def test_a_pre_tokenizer_that_makes_llama_cpp_add_bos_says_it_shall_not(checkpoint: Path) -> None:
    """Unless the tokenizer's own files say that it does."""
    key, opened = "tokenizer.ggml.add_bos_token", open_checkpoint(checkpoint)
    special = special_token_metadata(opened, built(checkpoint, pre="llama-bpe"))
    assert special[key].value is False
    assert key not in special_token_metadata(opened, built(checkpoint, pre="qwen2"))
    edit_json(checkpoint / "tokenizer_config.json", add_bos_token=True)
    special = special_token_metadata(open_checkpoint(checkpoint), built(checkpoint, pre="llama-bpe"))
    assert special[key].value is True


def test_texts_llama_cpp_reads_alike_are_refused(checkpoint: Path) -> None:
    """It ends a text at its first NUL."""
    tokens = {"280": {"content": "Hello\0x"}}
    edit_json(checkpoint / "tokenizer_config.json", added_tokens_decoder=tokens)
    with pytest.raises(TokenizerError, match="appears twice"):
        built(checkpoint)


def test_the_same_text_twice_is_refused(checkpoint: Path) -> None:
    """llama.cpp aborts the process on such a vocabulary."""
    edit_json(checkpoint / "tokenizer_config.json", added_tokens_decoder={"280": {"content": "Hello"}})
    with pytest.raises(TokenizerError, match="'Hello' appears twice"):
        built(checkpoint)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"type": "WordPiece", "vocab": {}}, "does not hold a BPE tokenizer"),
        ({"type": "BPE", "merges": []}, "does not hold a BPE tokenizer"),
        ({"type": "BPE", "vocab": {"a": 0}, "merges": []}, "no merges"),
        ([], "does not hold a BPE tokenizer"),
    ],
)
def test_other_tokenizers_are_refused(model: Any, message: str, checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer.json", model=model)
    with pytest.raises(TokenizerError, match=message):
        built(checkpoint)


def test_no_tokenizer_at_all_is_refused(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"neither tokenizer\.json nor tokenizer\.model"):
        built(checkpoint)


def test_a_damaged_sentencepiece_model_is_refused(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.model").write_bytes(b"not a model")
    with pytest.raises(TokenizerError, match="not a SentencePiece model"):
        built(checkpoint)


def test_sentencepiece_pieces_keep_text_score_and_kind(material: Path) -> None:
    vocabulary = built(material / "weights" / "stories260K-hf-derived", rows=512)
    assert (vocabulary.model, vocabulary.pre, vocabulary.merges) == ("llama", "default", None)
    assert vocabulary.tokens[:4] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert vocabulary.types[0] in (TokenType.UNKNOWN, TokenType.CONTROL)
    assert vocabulary.types[1:4] == [TokenType.CONTROL, TokenType.CONTROL, TokenType.BYTE]
    assert vocabulary.types.count(TokenType.BYTE) == 256
    assert vocabulary.scores is not None
    ordinary = [
        s for s, kind in zip(vocabulary.scores, vocabulary.types, strict=True) if kind == TokenType.NORMAL
    ]
    assert ordinary[0] == 0.0
    assert ordinary[:100] == sorted(ordinary[:100], reverse=True)
