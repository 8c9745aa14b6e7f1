"""What an importance matrix is for: the smallest levels stay closer to the model they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from localllm.conversion.convert import convert
from localllm.imatrix.collect import collect_imatrix
from localllm.native.context import Context
from localllm.native.model import Model
from localllm.quantization.importance import Importances
from localllm.store import shipped_checkpoint
from tests.quantization.making import make

_CHUNK, _CHUNKS = 256, 8


def log_probabilities(path: Path, text: str) -> NDArray[np.float64]:
    """Return the log probabilities of every next token of chunks of `text`, shape (tokens, vocabulary)."""
    found = []
    with Model(path) as model, Context(model, context_size=_CHUNK, threads=2, batch_size=_CHUNK) as context:
        tokens = model.tokenize(text, add_special=False, parse_special=False)
        for first in range(0, _CHUNK * _CHUNKS, _CHUNK):
            context.clear()
            context.decode(tokens[first : first + _CHUNK], start=0, logits_from=0)
            logits = context.kept_logits(_CHUNK).astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            found.append(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    return np.concatenate(found)


def divergence(exact: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the mean Kullback-Leibler divergence in nats."""
    return float((np.exp(exact) * (exact - other)).sum(axis=1).mean())


@pytest.mark.parametrize("level", ["Q2_K", "Q3_K_S"])
def test_a_matrix_lowers_the_divergence(level: str, tmp_path: Path) -> None:
    """Measured on one half of the demo's text, with importances from the other."""
    checkpoint = shipped_checkpoint("demo")
    assert checkpoint is not None
    exact = convert(checkpoint, output=tmp_path / "demo-BF16.gguf").path
    text = (checkpoint / "eval.txt").read_text(encoding="utf-8")
    seen, unseen = text[: len(text) // 2], text[len(text) // 2 :]
    collect_imatrix(exact, [("half", seen)], output=tmp_path / "matrix.gguf", context_size=_CHUNK)
    (tmp_path / "with").mkdir()
    make(exact, [level], tmp_path)
    make(exact, [level], tmp_path / "with", importances=Importances.read(tmp_path / "matrix.gguf"))
    right = log_probabilities(exact, unseen)
    without, weighted = (
        divergence(right, log_probabilities(place / f"{level}.gguf", unseen))
        for place in (tmp_path, tmp_path / "with")
    )
    assert 0 < weighted < 0.9 * without
