"""Advice says what is certain and leaves open what is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from localllm.comparison import Advice, Measurement
from localllm.comparison.advice import advise
from tests.comparison.examples import row, speed
from tests.report.examples import SETTINGS

LEVELS = [
    row("Q2_K", 100, kl=(0.2, 0.01), top=(0.80, 0.005), rate=50.0),
    row("Q4_K_M", 200, kl=(0.02, 0.001), top=(0.94, 0.003), rate=40.0),
    row("Q8_0", 400, kl=(0.001, 0.0001), top=(0.99, 0.001), rate=30.0),
    row("BF16", 800, reference=True, rate=20.0),
]


def advice(rows: Sequence[Measurement], fits: dict[str, bool] | None = None) -> Advice:
    fits = {row.level: True for row in rows} if fits is None else fits
    return advise(rows, SETTINGS, fits=fits, context_size=4096)


def test_the_smallest_level_within_the_loss() -> None:
    found = advice(LEVELS)
    assert found.smallest == "Q4_K_M"  # by its divergence, though not by its most probable tokens
    assert "Q4_K_M is the smallest" in found.sentences[0]
    assert "94.0 ± 0.6 %" in found.sentences[0]
    assert "Q2_K" not in " ".join(found.sentences[:2]).replace("Q2_K answers fastest", "")


def test_a_level_whose_error_bar_reaches_over_the_limit_is_not_advised() -> None:
    rows = [row("Q3_K_M", 150, kl=(0.029, 0.002), top=(0.93, 0.01)), *LEVELS[1:]]
    found = advice(rows)
    assert found.smallest == "Q4_K_M"
    assert any("Q3_K_M, smaller still, may keep it too" in sentence for sentence in found.sentences)


def test_no_level_within_the_loss() -> None:
    found = advice([LEVELS[0], LEVELS[3]])
    assert found.smallest is None
    assert found.sentences[0].startswith("No level keeps the allowed loss")


def test_the_reference_is_never_the_smallest() -> None:
    assert advice([LEVELS[3]]).smallest is None


def test_a_failed_level_is_left_out() -> None:
    failed = row("Q4_K_S", 190, kl=(0.02, 0.001), top=(0.99, 0.001), error="died")
    assert advice([failed, *LEVELS]).smallest == "Q4_K_M"


def test_the_fastest() -> None:
    found = advice(LEVELS)
    assert found.fastest == ("Q2_K",)
    assert "Q2_K answers fastest: about 50 tokens per second" in found.sentences


def test_speeds_within_the_error_bars_are_ties() -> None:
    rows = [
        row("Q2_K", 100, rate=speed(50.0, 0.2)),
        row("Q4_0", 150, rate=speed(48.0, 0.2)),
        row("Q8_0", 400, rate=30.0),
    ]
    found = advice(rows)
    assert found.fastest == ("Q2_K", "Q4_0")
    assert "Q2_K and Q4_0 answer fastest and cannot be told apart: about 50 tokens per second" in (
        found.sentences
    )


def test_speeds_that_two_processes_may_differ_by_are_ties() -> None:
    rows = [row("Q2_K", 100, rate=speed(50.0, 0.0001)), row("Q4_0", 150, rate=speed(49.0, 0.0001))]
    assert advice(rows).fastest == ("Q2_K", "Q4_0")


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_repetitions_rank_nothing(count: int) -> None:
    rows = [row("Q2_K", 100, rate=speed(50.0, count=count)), row("Q8_0", 400, rate=speed(5.0, count=count))]
    found = advice(rows)
    assert found.fastest == ()
    assert "left open" in found.sentences[0]


def test_what_fits() -> None:
    fits = {"Q2_K": True, "Q4_K_M": True, "Q8_0": False, "BF16": False}
    found = advice(LEVELS, fits)
    assert found.fitting == ("Q2_K", "Q4_K_M")
    assert (
        "Q2_K and Q4_K_M fit this machine's free memory with a context of 4096 tokens; Q8_0 and BF16 not"
        in found.sentences
    )
    assert any(
        sentence.startswith("None of them fits")
        for sentence in advice(LEVELS, dict.fromkeys(fits, False)).sentences
    )


def test_pairs_that_cannot_be_told_apart_are_named_together() -> None:
    found = advise(
        LEVELS,
        SETTINGS,
        fits={},
        context_size=4096,
        undecided=[("Q5_0", "Q5_K_S"), ("Q5_K_S", "Q5_K_M"), ("Q3_K_L", "Q4_0")],
    )
    assert found.sentences[-2:] == (
        "The quality of Q5_0, Q5_K_S and Q5_K_M, each from the next, could not be told apart on this text",
        "The quality of Q3_K_L and Q4_0 could not be told apart on this text",
    )


def test_nothing_measured_says_nothing() -> None:
    rows = [row("Q2_K", 100), row("BF16", 800, reference=True)]
    assert advise(rows, SETTINGS, fits={}, context_size=4096).sentences == ()
