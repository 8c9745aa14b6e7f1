"""The softmax of float32 logits: surprise, normalisation, the best token."""

from __future__ import annotations

import math

import numpy as np
import pytest

from localllm.evaluation.softmax import negative_log_likelihood, softmax
from tests.evaluation.distributions import log_probabilities, logits


def test_likelihoods_of_known_distributions() -> None:
    values = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], dtype=np.float32))
    found = negative_log_likelihood(values, np.array([0, 2]))
    assert found == pytest.approx([math.log(2), -math.log(0.8)], abs=1e-6)


def test_large_logits_do_not_overflow() -> None:
    values = np.array([[3e38, 0.0]], dtype=np.float32)
    assert negative_log_likelihood(values, np.array([0])) == pytest.approx([0.0])


def test_constant_logits_know_nothing() -> None:
    values = np.full((3, 1000), 7, np.float32)
    assert np.exp(negative_log_likelihood(values, np.array([0, 5, 999]))) == pytest.approx([1000] * 3)


def test_it_is_what_float64_gives() -> None:
    values = logits(0, 5, 30_000, 4)
    targets = np.array([1, 2, 3, 4, 29_999])
    exact = log_probabilities(values)
    found = softmax(values)
    assert found.surprise(targets) == pytest.approx(-exact[np.arange(5), targets], abs=1e-6)
    assert found.probabilities() == pytest.approx(np.exp(exact), rel=1e-5)
    assert found.top.tolist() == exact.argmax(axis=1).tolist()
