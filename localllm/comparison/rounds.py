"""How much text it takes: rounds of chunks, growing, until neighbouring levels can be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from localllm.evaluation import Scores, kl_difference
from localllm.evaluation.uncertain import NORMAL_975

FIRST_ROUND = 8


def next_chunks(
    done: int, *, available: int | None, limit: int | None, seconds: tuple[float, float] | None = None
) -> int:
    """Return how many chunks the next round takes, 0 for no more: as many as all before it together.

    `available` is what the text has, None as long as nobody knows; `limit` what the user allows. `seconds`
    are those left and what a chunk takes in all files: a round that would take longer gets
    smaller, but the first one has at least one chunk.
    """
    ends = [end for end in (available, limit) if end is not None]
    chunks = min([done or FIRST_ROUND, *(end - done for end in ends)])
    if seconds is not None:
        left, each = seconds
        chunks = min(chunks, int(left / each) if each > 0 else chunks)
    return max(0 if done else 1, chunks)


def undecided_pairs(scores: Mapping[str, Scores], same: Sequence[set[str]] = ()) -> list[tuple[str, str]]:
    """Return the neighbours, by their KL divergence from the reference, that cannot be told apart at 95 %.

    `scores` are of the same positions; names in one set of `same` are of files with the same content, which
    nothing tells apart.
    """
    ordered = sorted(scores, key=lambda name: _mean_kl(scores[name]))
    return [
        (left, right)
        for left, right in pairwise(ordered)
        if not any({left, right} <= names for names in same) and not are_apart(scores[left], scores[right])
    ]


def are_apart(left: Scores, right: Scores) -> bool:
    """Tell whether the mean KL divergences of two levels differ, position by position, at 95 %."""
    try:
        difference = kl_difference(left, right)
    except ValueError:  # of other positions, or of a reference that was made anew in between
        return False
    return abs(difference.value) > NORMAL_975 * difference.stderr and difference.stderr > 0


def _mean_kl(scores: Scores) -> float:
    return float(scores.kl.mean(dtype="float64")) if scores.kl is not None and len(scores) else 0.0
