"""Every family is compared as it should be: chunks that are read together do not know of each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from localllm.conversion.convert import convert
from localllm.evaluation import evaluator
from localllm.evaluation.evaluator import evaluate, evaluate_reference
from localllm.evaluation.plan import Plan
from localllm.evaluation.scores import Scores
from localllm.evaluation.store import ReferenceStore
from localllm.native.model import Model
from tests.conversion.tiny_families import FAMILIES, write_tiny_family

LENGTH, COUNT, STEP = 48, 4, 20  # three of the tiny windows
SAME = 0.03  # the cache is of 16-bit numbers
CHUNKS = [[(7 * i * i + 3 * i + 11 * c) % 250 for i in range(LENGTH)] for c in range(COUNT)]


@pytest.mark.parametrize("name", FAMILIES)
def test_together_one_by_one_and_in_steps(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = convert(write_tiny_family(tmp_path / name, name), output=tmp_path / "model.gguf").path
    with Model(path) as model:
        store = ReferenceStore.create(tmp_path / "reference", model.vocabulary_size, LENGTH)
        together = evaluate_reference(model, CHUNKS, store, threads=1)
        alone = Scores.joined([evaluate(model, [chunk], threads=1) for chunk in CHUNKS])
        monkeypatch.setattr(evaluator, "plan", lambda *_: Plan(LENGTH, COUNT, STEP))
        in_steps = evaluate(model, CHUNKS, threads=1, reference=store)
    assert np.abs(together.nll - alone.nll).max() < SAME
    assert np.abs(together.nll - in_steps.nll).max() < SAME
    assert in_steps.kl is not None
    assert np.abs(in_steps.kl).max() < 1e-3
