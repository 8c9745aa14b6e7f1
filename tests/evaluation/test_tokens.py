"""Texts become chunks by llama-perplexity's rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.errors import UsageError
from localllm.evaluation.tokens import cut_into_chunks, tokenize_texts
from localllm.native.model import Model


def test_chunks_are_whole_and_begin_with_bos(tiny_gguf: Path) -> None:
    with Model(tiny_gguf, vocabulary_only=True) as model:
        (tokens,) = tokenize_texts(model, ["some text " * 20])
        chunks = cut_into_chunks(model, [tokens], 16)
        assert model.adds_bos
        assert len(chunks) == len(tokens) // 16
        assert {len(chunk) for chunk in chunks} == {16}
        assert {chunk[0] for chunk in chunks} == {model.bos}
        assert chunks[1][1:] == tokens[17:32]  # BOS took the place of a token


def test_texts_take_turns(tiny_gguf: Path) -> None:
    with Model(tiny_gguf, vocabulary_only=True) as model:
        tokenized = tokenize_texts(model, ["abcd" * 20, "hgfe" * 20])
        chunks = cut_into_chunks(model, tokenized, 16)
        assert chunks[1][1:] == tokenized[1][1:16]


def test_control_tokens_are_text(tiny_gguf: Path) -> None:
    with Model(tiny_gguf, vocabulary_only=True) as model:
        (tokens,) = tokenize_texts(model, ["a</s>b"])
        assert model.eos not in tokens


def test_too_short_a_text(tiny_gguf: Path) -> None:
    with Model(tiny_gguf, vocabulary_only=True) as model:
        with pytest.raises(UsageError, match="at least 32 are needed") as caught:
            cut_into_chunks(model, tokenize_texts(model, ["short"]), 16)
        assert "--text" in (caught.value.hint or "")
        with pytest.raises(UsageError, match="8 are the fewest"):
            cut_into_chunks(model, tokenize_texts(model, ["some text " * 20]), 7)
