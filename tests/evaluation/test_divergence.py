"""The divergence from what is kept of a reference, against the exact one from all of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localllm.evaluation.divergence import divergence
from localllm.evaluation.softmax import softmax
from tests.evaluation.distributions import disturbed, exact_divergence, kept, logits


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), vocabulary=st.integers(2, 6000), scale=st.floats(0, 10))
def test_a_model_does_not_differ_from_itself(seed: int, vocabulary: int, scale: float) -> None:
    values = logits(seed, 3, vocabulary, scale)
    found = divergence(softmax(values), kept(values))
    assert np.abs(found).max() < 1e-7


@pytest.mark.parametrize(
    ("vocabulary", "scale", "noise", "within"),
    [
        (200, 3, 0.3, 1e-3),  # so few tokens that nearly all are kept
        (2048, 4, 0.3, 5e-3),
        (32_000, 5, 0.3, 1e-3),
        (32_000, 5, 0.003, 5e-3),  # as small as that of Q8_0
        (32_000, 0.3, 0.1, 1e-2),  # as flat as random weights: nothing stands out
        (150_000, 0.3, 0.1, 1e-2),
    ],
)
def test_the_mean_is_the_exact_one(vocabulary: int, scale: float, noise: float, within: float) -> None:
    reference = logits(1, 100, vocabulary, scale)
    model = disturbed(reference, 2, noise)
    found = divergence(softmax(model), kept(reference))
    assert found.mean() == pytest.approx(exact_divergence(reference, model).mean(), rel=within)


def test_it_has_no_bias() -> None:
    """Also where model and reference are nothing alike, the mean over all draws is the exact divergence."""
    reference, model = logits(3, 2, 2000, 0.5), logits(4, 2, 2000, 2.0)
    model[0, 7] += 12  # the model is sure of a token that the reference hardly thinks of
    starts = (np.arange(400) + 0.5) / 400
    found = np.mean([divergence(softmax(model), kept(reference, start)) for start in starts], axis=0)
    assert found == pytest.approx(exact_divergence(reference, model), rel=0.02)


def test_a_token_the_model_alone_believes_in_does_not_upset_it() -> None:
    reference = logits(5, 50, 4000, 1.0)
    model = reference.copy()
    model[np.arange(50), reference.argmin(axis=1)] += 14
    exact = exact_divergence(reference, model)
    for start in (0.1, 0.6, 0.9):
        assert divergence(softmax(model), kept(reference, start)) == pytest.approx(exact, rel=0.05)


def test_rows_are_compared_with_their_own() -> None:
    reference = logits(6, 8, 500, 3)
    model = disturbed(reference, 7, 0.5)
    rows = kept(reference)
    whole = divergence(softmax(model), rows)
    parts = [
        divergence(softmax(model[at : at + 3]), rows.part(at, len(model[at : at + 3]))) for at in (0, 3, 6)
    ]
    assert np.concatenate(parts) == pytest.approx(whole, rel=1e-9)
