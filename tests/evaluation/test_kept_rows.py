"""What is kept of a reference is a tenth of all, and is told again as it was."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localllm.evaluation.kept_rows import KeptRows, joined, room
from tests.evaluation.distributions import kept, log_probabilities, logits


def size_of(rows: KeptRows) -> int:
    return sum(getattr(rows, field.name).nbytes for field in fields(rows))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 4),
    vocabulary=st.integers(2, 5000),
    scale=st.floats(0, 12),
)
def test_tokens_and_probabilities_are_told_again(
    seed: int, count: int, vocabulary: int, scale: float
) -> None:
    values = logits(seed, count, vocabulary, scale)
    rows = kept(values)
    exact = log_probabilities(values)
    assert len(rows) == count
    assert len(rows.rows) == len(rows.ids) == len(rows.codes)
    assert np.bincount(rows.rows, minlength=count).min() >= 1
    within = np.diff(rows.ids)[np.diff(rows.rows) == 0]
    assert (within > 0).all()
    step = rows.scale[rows.rows] / 2 + 1e-5
    assert (np.abs(rows.log_probabilities - exact[rows.rows, rows.ids]) <= step).all()
    assert rows.top.tolist() == exact.argmax(axis=1).tolist()
    assert rows.surprise == pytest.approx(-exact[:, 0], abs=1e-4)


@pytest.mark.parametrize("vocabulary", [2048, 32_000, 151_936])
@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0, 8.0])
def test_a_tenth_of_two_bytes_for_each_token_at_most(vocabulary: int, scale: float) -> None:
    rows = kept(logits(1, 20, vocabulary, scale))
    assert size_of(rows) / 20 <= 0.1 * 2 * vocabulary
    assert len(rows.codes) / 20 <= room(vocabulary)


def test_a_confident_reference_takes_far_less() -> None:
    values = logits(2, 20, 32_000, 1.0)
    values[np.arange(20), np.arange(20)] += 25
    assert size_of(kept(values)) / 20 < 500


def test_parts_are_told_apart() -> None:
    whole = kept(logits(4, 7, 3000, 3))
    for first, count in ((0, 7), (0, 1), (2, 3), (6, 1)):
        part = whole.part(first, count)
        chosen = (whole.rows >= first) & (whole.rows < first + count)
        assert part.ids.tolist() == whole.ids[chosen].tolist()
        assert part.rows.tolist() == (whole.rows[chosen] - first).tolist()
        assert part.log_probabilities.tolist() == whole.log_probabilities[chosen].tolist()
        assert part.top.tolist() == whole.top[first : first + count].tolist()


def test_parts_are_joined() -> None:
    values = logits(3, 6, 700, 3)
    parts = [kept(values[:2]), kept(values[2:3]), kept(values[3:])]
    whole = joined(parts)
    assert whole.ids.tolist() == [token for part in parts for token in part.ids.tolist()]
    assert np.bincount(whole.rows).tolist() == [n for part in parts for n in np.bincount(part.rows).tolist()]
    assert whole.log_probabilities.tolist() == [
        value for part in parts for value in part.log_probabilities.tolist()
    ]
