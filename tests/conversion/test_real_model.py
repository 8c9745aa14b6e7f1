"""A trained model nobody here made: after conversion, llama.cpp computes what its own authors' code did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from localllm.conversion.convert import convert
from localllm.conversion.out_type import OutType
from localllm.native.context import Context
from localllm.native.model import Model

STORIES = Path("weights") / "stories260K-hf-derived"
CONTEXT = 512


@pytest.fixture(scope="module")
def stories(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Model, Context]]:
    path = tmp_path_factory.mktemp("stories") / "stories-F32.gguf"
    convert(material / STORIES, output=path, out_type=OutType.F32)
    with Model(path) as model, Context(model, context_size=CONTEXT, threads=2) as context:
        yield model, context


def test_greedy_text(stories: tuple[Model, Context], material: Path) -> None:
    model, context = stories
    expected = (material / STORIES / "expected_greedy.txt").read_text(encoding="utf-8").strip()
    context.clear()
    tokens, text = [model.bos], b""
    while len(text.strip()) < len(expected.encode()):
        context.decode(tokens[-1:], start=len(tokens) - 1)
        tokens.append(int(context.kept_logits(1)[0].argmax()))
        text += model.piece(tokens[-1])
    assert text.decode("utf-8").strip() == expected


def test_negative_log_likelihood(stories: tuple[Model, Context], material: Path) -> None:
    model, context = stories
    expected = json.loads((material / STORIES / "expected_nll.json").read_text(encoding="utf-8"))
    tokens = model.tokenize(expected["text"], add_special=True, parse_special=False)
    context.clear()
    context.decode(tokens, start=0, logits_from=0)
    logits = np.array(context.kept_logits(len(tokens)), dtype=np.float64)[:-1]
    logits -= logits.max(axis=1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    losses = -log_probabilities[np.arange(len(tokens) - 1), tokens[1:]]
    assert tokens == expected["ids_with_bos"]
    assert losses.mean() == pytest.approx(expected["mean_nll_nats"], abs=1e-3)
