"""Figures by llama-perplexity's definitions, against sums written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.evaluation import Scores, Uncertain, kl_difference, summarise
from localllm.evaluation.statistics import quantile

RANDOM = np.random.default_rng(0)
NLL = RANDOM.gamma(2, 1, 400)
REFERENCE = NLL - RANDOM.normal(0.05, 0.1, 400)
KL = RANDOM.gamma(0.5, 0.1, 400).astype(np.float32)
DELTA = RANDOM.normal(0, 0.1, 400).astype(np.float32)
SAME = RANDOM.random(400) < 0.9
SCORES = Scores(NLL, REFERENCE, KL, DELTA, SAME)


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """As llama-perplexity sums it up."""
    count = len(values)
    mean = sum(values) / count
    variance = sum(value * value for value in values) / count - mean * mean
    return mean, math.sqrt(variance / (count - 1))


def test_the_perplexity_of_known_values() -> None:
    found = summarise(Scores(np.array([1.0, 3.0] * 10)))
    assert found.perplexity is not None
    assert found.perplexity.value == pytest.approx(math.exp(2))
    assert found.perplexity.stderr == pytest.approx(math.exp(2) / math.sqrt(19))
    assert (found.tokens, found.kl_divergence, found.perplexity_ratio) == (20, None, None)


def test_no_error_of_few_values() -> None:
    assert summarise(Scores(np.array([1.0, 3.0]))).perplexity == Uncertain(pytest.approx(math.exp(2)), 0)


def test_nothing_was_scored() -> None:
    assert summarise(Scores(np.empty(0))).perplexity is None


def test_means_with_their_errors() -> None:
    found = summarise(SCORES)
    assert found.perplexity is not None
    assert found.kl_divergence is not None
    mean, error = mean_and_error(NLL.tolist())
    assert found.perplexity == Uncertain(pytest.approx(math.exp(mean)), pytest.approx(math.exp(mean) * error))
    mean, error = mean_and_error(KL.tolist())
    assert found.kl_divergence == Uncertain(pytest.approx(mean), pytest.approx(error))


def test_the_ratios_error_counts_the_covariance() -> None:
    found = summarise(SCORES).perplexity_ratio
    (ours, error), (theirs, other) = mean_and_error(NLL.tolist()), mean_and_error(REFERENCE.tolist())
    products = sum(a * b for a, b in zip(NLL.tolist(), REFERENCE.tolist(), strict=True)) / 400
    covariance = (products - ours * theirs) / 399
    ratio = math.exp(ours - theirs)
    expected = ratio * math.sqrt(error**2 + other**2 - 2 * covariance)
    assert found == Uncertain(pytest.approx(ratio), pytest.approx(expected, rel=1e-6))


def test_shares_and_differences_of_probability() -> None:
    found = summarise(SCORES)
    share = sum(SAME.tolist()) / 400
    assert found.same_top_token == Uncertain(
        pytest.approx(share), pytest.approx(math.sqrt(share * (1 - share) / 399))
    )
    square, error = mean_and_error([value * value for value in DELTA.tolist()])
    root = math.sqrt(square)
    assert found.rms_delta_p == Uncertain(pytest.approx(root), pytest.approx(error / (2 * root)))


def test_the_quantile_is_numpys_and_llama_cpps() -> None:
    found = summarise(SCORES).kl_divergence_p99
    assert found is not None
    assert found.value == pytest.approx(float(np.percentile(KL.astype(np.float64), 99)))
    ordered = sorted(KL.tolist())
    place = 0.99 * 399
    below = int(place)
    part = place - below
    assert found.value == pytest.approx((1 - part) * ordered[below] + part * ordered[below + 1])


def test_the_quantiles_error_is_about_right() -> None:
    """That of samples of an exponential distribution, whose quantiles are known."""
    samples = np.random.default_rng(1).exponential(1, (300, 3000))
    found = [quantile(sample, 0.99) for sample in samples]
    spread = float(np.std([one.value for one in found]))
    assert float(np.mean([one.stderr for one in found])) == pytest.approx(spread, rel=0.15)


def test_a_model_compared_with_itself() -> None:
    zeros = np.zeros(20, np.float32)
    found = summarise(Scores(NLL[:20], NLL[:20], zeros, zeros, np.ones(20, bool)))
    assert found.kl_divergence == found.rms_delta_p == Uncertain(0, 0)
    assert found.perplexity_ratio == found.same_top_token == Uncertain(1, 0)


@given(st.lists(st.floats(0, 50), min_size=11, max_size=200), st.floats(0.1, 3))
def test_scaling_surprises_scales_their_error(values: list[float], factor: float) -> None:
    once = summarise(Scores(np.array(values))).perplexity
    more = summarise(Scores(np.array(values) + factor)).perplexity
    assert once is not None
    assert more is not None
    assert more.value == pytest.approx(once.value * math.exp(factor))
    assert more.stderr == pytest.approx(once.stderr * math.exp(factor), rel=1e-4, abs=1e-9)


def test_differences_are_paired() -> None:
    other = Scores(NLL, REFERENCE, KL + np.float32(0.01), DELTA, SAME)
    found = kl_difference(other, SCORES)
    assert found.value == pytest.approx(0.01, rel=1e-3)
    assert found.stderr < 1e-6  # although each of them is far less certain
    assert kl_difference(SCORES, other).value == pytest.approx(-found.value)


def test_differences_of_other_positions_are_refused() -> None:
    shorter = Scores(NLL[:9], REFERENCE[:9], KL[:9], DELTA[:9], SAME[:9])
    shifted = Scores(NLL, REFERENCE + 1, KL, DELTA, SAME)
    for other in (shorter, shifted, Scores(NLL)):
        with pytest.raises(ValueError, match="the scores are not"):
            kl_difference(SCORES, other)
