"""Answers side by side: the same ones together, each parted where it leaves the reference's."""

from __future__ import annotations

from dataclasses import dataclass

from localllm.comparison.measurement import ComparisonResult, GreedyAnswer, Measurement
from localllm.report.columns import row_labels


@dataclass(frozen=True)
class SharedAnswer:
    """What some files answered. `common` is what it has in common with the reference's, `own` what follows.

    `departs_at` is the number of common tokens; None where nothing departs.
    """

    labels: tuple[str, ...]
    common: str
    own: str
    departs_at: int | None
    is_reference: bool


@dataclass(frozen=True)
class Answered:
    """A prompt and its answers, the reference's first, then those that follow it longest."""

    prompt: str
    answers: tuple[SharedAnswer, ...]


def answered(result: ComparisonResult) -> list[Answered]:
    """Return every prompt with its answers, in the order the prompts were given."""
    labels = row_labels(result.measurements)
    named = list(zip(labels, result.measurements, strict=True))
    prompts = dict.fromkeys(answer.prompt for row in result.measurements for answer in row.answers)
    return [
        Answered(
            prompt,
            _together(
                [
                    (label, row, answer)
                    for label, row in named
                    for answer in row.answers
                    if answer.prompt == prompt
                ]
            ),
        )
        for prompt in prompts
    ]


def _together(given: list[tuple[str, Measurement, GreedyAnswer]]) -> tuple[SharedAnswer, ...]:
    groups: dict[tuple[str, int | None], list[tuple[str, Measurement]]] = {}
    for label, row, answer in sorted(given, key=lambda each: not each[1].is_reference):
        cut = None if row.is_reference else answer.departs_at_character
        groups.setdefault((answer.text, cut), []).append((label, row))
    tokens = {(answer.text, answer.departs_at_character): answer.departs_at for _, _, answer in given}
    shared = [
        SharedAnswer(
            labels=tuple(label for label, _ in members),
            common=text if cut is None else text[:cut],
            own="" if cut is None else text[cut:],
            departs_at=None if cut is None else tokens[text, cut],
            is_reference=any(row.is_reference for _, row in members),
        )
        for (text, cut), members in groups.items()
    ]
    return tuple(sorted(shared, key=lambda each: (not each.is_reference, -_length(each))))


def _length(answer: SharedAnswer) -> float:
    return float("inf") if answer.departs_at is None else len(answer.common)
