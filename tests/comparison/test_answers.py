"""Where an answer leaves the reference's."""

from __future__ import annotations

from localllm.comparison import GreedyAnswer
from localllm.comparison.answers import greedy_answers


def said(*pieces: str) -> dict[str, object]:
    return {"pieces": list(pieces), "tokens": len(pieces) + 1}


def test_the_reference_departs_from_nothing() -> None:
    assert greedy_answers(["?"], [said("A", " b")], None) == (GreedyAnswer("?", "A b", 3),)


def test_the_same_answer() -> None:
    assert greedy_answers(["?"], [said("A", " b")], [said("A", " b")]) == (GreedyAnswer("?", "A b", 3),)


def test_where_answers_part() -> None:
    (answer,) = greedy_answers(["?"], [said("A", " big", " cat")], [said("A", " bird", " sings")])
    assert (answer.departs_at, answer.departs_at_character) == (1, 4)


def test_an_answer_that_ends_sooner() -> None:
    (answer,) = greedy_answers(["?"], [said("A")], [said("A", " bird")])
    assert (answer.departs_at, answer.departs_at_character) == (1, 1)
