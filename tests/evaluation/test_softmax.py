"""Perplexity by its definition: negative log likelihoods of the second half of each chunk."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from localllm.errors import UsageError
from localllm.evaluation import evaluate_perplexity, negative_log_likelihood, split_into_chunks, summarise
from localllm.native.context import Context
from localllm.native.model import Model


def test_likelihoods_of_known_distributions() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], dtype=np.float32))
    found = negative_log_likelihood(logits, np.array([0, 2]))
    assert found == pytest.approx([math.log(2), -math.log(0.8)], abs=1e-6)


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[3e38, 0.0]], dtype=np.float32)
    assert negative_log_likelihood(logits, np.array([0])) == pytest.approx([0.0])


def test_the_summary_of_known_values() -> None:
    found = summarise(np.array([1.0, 3.0]), chunks=1)
    assert found.value == pytest.approx(math.exp(2.0))
    assert found.stderr == pytest.approx(math.exp(2.0) * 1.0)
    assert (found.tokens, found.chunks) == (2, 1)


def test_chunks_are_whole_and_begin_with_bos(tiny_gguf: Path) -> None:
    with Model(tiny_gguf, vocabulary_only=True) as model:
        tokens = model.tokenize("some text " * 20, add_special=True, parse_special=False)
        chunks = split_into_chunks(model, "some text " * 20, 16)
        assert model.adds_bos
        assert len(chunks) == len(tokens) // 16
        assert {len(chunk) for chunk in chunks} == {16}
        assert {chunk[0] for chunk in chunks} == {model.bos}
        assert chunks[1][1:] == tokens[17:32]
        with pytest.raises(UsageError, match="at least 32 are needed"):
            split_into_chunks(model, "short", 16)


def test_it_is_what_single_steps_give(tiny_gguf: Path) -> None:
    with Model(tiny_gguf) as model:
        chunks = split_into_chunks(model, "some text to be surprised at " * 8, 16)[:2]
        found = evaluate_perplexity(model, chunks, threads=1)
        losses = []
        with Context(model, context_size=16, threads=1) as context:
            for chunk in chunks:
                context.clear()
                for position, token in enumerate(chunk[:-1]):
                    context.decode([token], start=position)
                    logits = np.array(context.kept_logits(1), dtype=np.float64)[0]
                    if position >= 8:
                        top = logits.max()
                        total = np.log(np.exp(logits - top).sum()) + top
                        losses.append(total - logits[chunk[position + 1]])
    assert found.tokens == len(losses) == 14
    assert found.value == pytest.approx(math.exp(np.mean(losses)), rel=1e-3)
