"""Answers side by side."""

from __future__ import annotations

from dataclasses import replace

from localllm.comparison.measurement import GreedyAnswer
from localllm.report.answers import answered
from tests.report.examples import REFERENCE, TWELVE


def test_the_same_answers_are_together_and_the_reference_comes_first() -> None:
    (prompt,) = answered(TWELVE)
    first, second = prompt.answers
    assert first.is_reference
    assert first.labels[0] == "BF16"
    assert len(first.labels) == 9
    assert (first.own, first.departs_at) == ("", None)
    assert second.labels == ("Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L")
    assert second.common + second.own == "A GGUF file holds the weights of a model, and little else."
    assert (second.own, second.departs_at) == (" of a model, and little else.", 7)


def test_an_answer_that_only_ends_sooner_departs_at_its_end() -> None:
    short = replace(TWELVE.measurements[0], answers=(GreedyAnswer("?", "Yes", 1, 1, 3),))
    full = replace(REFERENCE, answers=(GreedyAnswer("?", "Yes, it is.", 4),))
    (prompt,) = answered(replace(TWELVE, measurements=(short, full)))
    assert [answer.labels for answer in prompt.answers] == [("BF16",), ("Q2_K",)]
    assert (prompt.answers[1].common, prompt.answers[1].own, prompt.answers[1].departs_at) == ("Yes", "", 1)
