"""Which tokens are kept: the probable ones for certain, the others in proportion to their probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localllm.evaluation.selection import select
from localllm.evaluation.softmax import softmax
from tests.evaluation.distributions import logits


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 5),
    vocabulary=st.integers(2, 3000),
    scale=st.floats(0, 12),
    room=st.integers(64, 400),
    start=st.floats(0, 1, exclude_max=True),
)
def test_laws(seed: int, rows: int, vocabulary: int, scale: float, room: int, start: float) -> None:
    probabilities = softmax(logits(seed, rows, vocabulary, scale)).probabilities()
    places, floor = select(probabilities, room, start)
    row, ids = np.divmod(places, vocabulary)
    counts = np.bincount(row, minlength=rows)
    assert (np.diff(places) > 0).all()
    assert counts.min() >= 1
    assert counts.max() <= room + 1
    for index in range(rows):
        certain = np.flatnonzero(probabilities[index] > floor[index] * (1 + 1e-5))
        assert set(certain) <= set(ids[row == index])


def test_a_token_is_kept_as_often_as_its_probability_says() -> None:
    probabilities = np.array([[0.5, *[0.5 / 999] * 999]], np.float32)
    starts = (np.arange(500) + 0.5) / 500
    kept = np.zeros(1000)
    for start in starts:
        places, floor = select(probabilities, 100, start)
        kept[places] += 1 / 500
    assert kept[0] == pytest.approx(1)
    assert kept[1:] == pytest.approx(0.5 / 999 / floor[0], abs=0.01)
    assert kept.sum() == pytest.approx(100, abs=0.01)


def test_a_certain_prediction_needs_few_tokens() -> None:
    values = np.full((1, 50_000), -20, np.float32)
    values[0, 3] = 20
    places, _ = select(softmax(values).probabilities(), 1000, 0.5)
    assert places.tolist() == [3]
