"""Answers side by side: where each leaves the reference's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from localllm.comparison.measurement import GreedyAnswer

Said = Mapping[str, Any]  # of `answering.answers_job`: `pieces` and `tokens`


def greedy_answers(
    prompts: Sequence[str], said: Sequence[Said], reference: Sequence[Said] | None
) -> tuple[GreedyAnswer, ...]:
    """Return a model's answers to `prompts`; `reference` are those to compare with, None for its own."""
    others: Sequence[Said | None] = reference if reference is not None else [None] * len(said)
    return tuple(
        _answer(prompt, own, other) for prompt, own, other in zip(prompts, said, others, strict=True)
    )


def _answer(prompt: str, own: Said, other: Said | None) -> GreedyAnswer:
    text = "".join(own["pieces"])
    answer = GreedyAnswer(prompt, text, own["tokens"])
    if other is None or other["pieces"] == own["pieces"]:
        return answer
    characters = _common(text, "".join(other["pieces"]))
    return GreedyAnswer(prompt, text, own["tokens"], _common(own["pieces"], other["pieces"]), characters)


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    """Return how many items two sequences have in common before they part."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))
