"""What repetitions allow to say."""

from __future__ import annotations

import pytest

from localllm.benchmark import Doubt, clearly_apart, doubt_about, spread_of
from localllm.benchmark.spread import _t_975


def test_the_median_and_the_standard_error_of_the_mean() -> None:
    spread = spread_of([1.0, 2.0, 3.0, 10.0])
    assert (spread.median, spread.low, spread.high, spread.count) == (2.5, 1.0, 10.0, 4)
    assert spread.stderr == pytest.approx(4.0824829 / 2)


def test_one_sample_has_no_error() -> None:
    assert spread_of([5.0]).stderr == 0.0


@pytest.mark.parametrize(
    ("samples", "doubt"),
    [
        ([100, 101, 99, 100, 100], None),
        ([100, 101, 99, 100, 50], Doubt.OUTLIERS),
        ([100, 100, 100, 100, 90], Doubt.OUTLIERS),
        ([100, 100, 100, 100, 97], None),  # far by its score, but not by its size
        ([100, 97, 94, 90, 85], Doubt.FALLING),
        ([100, 99.9, 99.8, 99.7, 99.6], None),  # steadily, but hardly
        ([85, 90, 94, 97, 100], None),  # getting faster is no throttling
        ([100, 50], None),
        ([100], None),
    ],
)
def test_doubts(samples: list[float], doubt: Doubt | None) -> None:
    assert doubt_about(samples) is doubt


def test_means_are_apart_only_beyond_their_errors() -> None:
    assert clearly_apart([100, 101, 99, 100, 100], [90, 91, 89, 90, 90])
    assert not clearly_apart([100, 120, 80, 100, 100], [90, 110, 70, 90, 90])
    assert not clearly_apart([100.0, 100.1, 99.9], [99.0, 99.1, 98.9], least_share=0.03)
    assert clearly_apart([2.0, 2.0], [1.0, 1.0])
    assert not clearly_apart([2.0, 2.0], [2.0, 2.0])


def test_one_sample_says_nothing() -> None:
    assert not clearly_apart([100.0], [1.0])
    assert not clearly_apart([100.0, 101.0], [1.0])


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (8, 2.306), (30, 2.042), (1e6, 1.96)],
)
def test_quantiles_of_student(degrees: float, quantile: float) -> None:
    assert _t_975(degrees) == pytest.approx(quantile, rel=0.01)
