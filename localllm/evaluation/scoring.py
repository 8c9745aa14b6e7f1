"""Scores the logits of consecutive positions: blocks of a bounded size, on several threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, TypeVar

from localllm.errors import GenerationError
from localllm.evaluation.divergence import divergence
from localllm.evaluation.kept_rows import KeptRows, joined, keep
from localllm.evaluation.scores import Scores
from localllm.evaluation.softmax import softmax

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Result = TypeVar("Result")

_BLOCK_ELEMENTS = 2**18  # one megabyte of logits: what is made of them stays in the cache


@dataclass(frozen=True)
class Positions:
    """Consecutive positions of a chunk: their logits, shape (rows, vocabulary), and the tokens that come."""

    logits: NDArray[np.float32]
    targets: NDArray[np.int64]

    def block(self, rows: slice) -> Positions:
        return Positions(self.logits[rows], self.targets[rows])


def score(positions: Positions, executor: Executor) -> Scores:
    """Return how much each position surprises the model."""

    def work(block: Positions, first: int) -> Scores:
        return Scores(softmax(block.logits).surprise(block.targets))

    return _checked(Scores.joined(_in_blocks(work, positions, executor)))


def score_against(positions: Positions, reference: KeptRows, first: int, executor: Executor) -> Scores:
    """Return the scores of positions against those of `reference` from number `first` on."""
    import numpy as np

    def work(block: Positions, begin: int) -> Scores:
        distribution = softmax(block.logits)
        nll = distribution.surprise(block.targets)
        same = reference.part(first + begin, len(nll))
        reference_nll = same.surprise.astype(np.float64)
        return Scores(
            nll,
            reference_nll,
            divergence(distribution, same).astype(np.float32),
            (np.exp(-nll) - np.exp(-reference_nll)).astype(np.float32),
            distribution.top == same.top,
        )

    return _checked(Scores.joined(_in_blocks(work, positions, executor)))


def score_and_keep(positions: Positions, generator: Random, executor: Executor) -> tuple[Scores, KeptRows]:
    """Return the scores of the reference itself and what to keep of it, by chance of `generator`."""
    starts = [generator.random() for _ in positions.targets]

    def work(block: Positions, begin: int) -> tuple[Scores, KeptRows]:
        distribution = softmax(block.logits)
        nll = distribution.surprise(block.targets)
        probabilities = distribution.probabilities()
        return Scores(nll), keep(distribution, nll, probabilities, starts[begin])

    parts = _in_blocks(work, positions, executor)
    return _checked(Scores.joined([scores for scores, _ in parts])), joined([rows for _, rows in parts])


def _in_blocks(
    work: Callable[[Positions, int], Result], positions: Positions, executor: Executor
) -> Sequence[Result]:
    count, vocabulary_size = positions.logits.shape
    rows = max(1, _BLOCK_ELEMENTS // vocabulary_size)
    begins = range(0, count, rows)
    return list(executor.map(lambda begin: work(positions.block(slice(begin, begin + rows)), begin), begins))


def _checked(scores: Scores) -> Scores:
    import numpy as np

    if not np.isfinite(scores.nll).all() or (scores.kl is not None and not np.isfinite(scores.kl).all()):
        raise GenerationError(
            "the model computes numbers that are not finite",
            hint="the file is damaged, or its weights are too large for this level",
        )
    return scores
