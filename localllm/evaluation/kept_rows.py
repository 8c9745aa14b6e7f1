"""What is kept of a reference's predictions: about a tenth of what all its log-probabilities would take.

Of each position: how much the text surprised the reference, its best token, and the tokens that `selection`
picks, with their log-probabilities. These are 16-bit codes, linear between the smallest and the largest of
the position. Token ids ascend and are written as distances, one byte each: 255 adds 255 to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

from localllm.evaluation.selection import select

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from localllm.evaluation.softmax import Softmax

FIXED_BYTES = 24  # of a row, besides its tokens
_TOKEN_BYTES = 3
_FULL_STEP = 255
_LARGEST_CODE = 65535
_PER_POSITION = 6  # the first fields
_LEAST_ROOM = 64  # tokens; only vocabularies of a few hundred get less from their size
_SHARE = 10  # of what llama-perplexity writes: two bytes for each token of the vocabulary


def room(vocabulary_size: int) -> int:
    """Return how many tokens of a position may be kept, so that it takes a tenth of two bytes for each."""
    budget = 2 * vocabulary_size / _SHARE - FIXED_BYTES - vocabulary_size / _FULL_STEP
    return max(_LEAST_ROOM, int(budget / _TOKEN_BYTES))


@dataclass(frozen=True)
class KeptRows:
    """What is kept of some positions in a row.

    Per position: `surprise` -log P of the text's token, `top` the best token, `floor` the probability below
    which tokens may be left out, `scale` and `offset` of the codes, `step_counts` the bytes of `steps` that
    are its own. `steps` and `codes` are those of all positions, one after the other.
    """

    surprise: NDArray[np.float32]
    top: NDArray[np.uint32]
    floor: NDArray[np.float32]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    step_counts: NDArray[np.uint32]
    steps: NDArray[np.uint8]
    codes: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.surprise)

    @property
    def is_consistent(self) -> bool:
        """Whether the arrays fit together: every position has tokens, and every token its code."""
        counts = {len(getattr(self, field.name)) for field in fields(self)[:_PER_POSITION]}
        if counts != {len(self)} or not len(self) or not self.step_counts.all():
            return False
        if int(self.step_counts.sum()) != len(self.steps):
            return False
        tokens = self._code_ends
        return bool((tokens[1:] > tokens[:-1]).all()) and int(tokens[-1]) == len(self.codes)

    @property
    def largest_id(self) -> int:
        """The largest of all tokens kept; of an inconsistent one this may be anything."""
        import numpy as np

        return max(
            int(np.add.reduceat(self.steps, self._step_ends[:-1], dtype=np.int64).max()), int(self.top.max())
        )

    def part(self, first: int, count: int) -> KeptRows:
        """Return some of the positions: told, their tokens take ten times the memory of what is kept."""
        rows = slice(first, first + count)
        steps, codes = (
            slice(int(ends[first]), int(ends[first + count])) for ends in (self._step_ends, self._code_ends)
        )
        return KeptRows(
            self.surprise[rows],
            self.top[rows],
            self.floor[rows],
            self.scale[rows],
            self.offset[rows],
            self.step_counts[rows],
            self.steps[steps],
            self.codes[codes],
        )

    @cached_property
    def _step_ends(self) -> NDArray[np.int64]:
        """Where the steps of each position begin, and at last how many there are."""
        import numpy as np

        return np.concatenate([[0], np.cumsum(self.step_counts, dtype=np.int64)])

    @cached_property
    def _code_ends(self) -> NDArray[np.int64]:
        """Where the codes of each position begin, and at last how many there are."""
        import numpy as np

        counts = np.add.reduceat(self.steps < _FULL_STEP, self._step_ends[:-1], dtype=np.int64)
        return np.concatenate([[0], np.cumsum(counts)])

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The position of each kept token."""
        import numpy as np

        rows: NDArray[np.int64] = np.repeat(np.arange(len(self)), self.step_counts)[self.steps < _FULL_STEP]
        return rows

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """The kept tokens."""
        import numpy as np

        along = np.cumsum(self.steps, dtype=np.int64)
        ends = np.cumsum(self.step_counts, dtype=np.int64)
        before = np.concatenate([[0], along[ends[:-1] - 1]])
        ids: NDArray[np.int64] = (along - np.repeat(before, self.step_counts))[self.steps < _FULL_STEP]
        return ids

    @cached_property
    def log_probabilities(self) -> NDArray[np.float64]:
        """The log-probabilities of the kept tokens."""
        import numpy as np

        values: NDArray[np.float64] = self.codes * self.scale.astype(np.float64)[self.rows]
        values += self.offset[self.rows]
        return values


def keep(
    distribution: Softmax,
    surprise: NDArray[np.float64],
    probabilities: NDArray[np.float32],
    start: float,
) -> KeptRows:
    """Return what to keep of some positions; `start` is a random number in [0, 1)."""
    import numpy as np

    rows, vocabulary_size = probabilities.shape
    places, floor = select(probabilities, room(vocabulary_size), start)
    begins = np.searchsorted(places, np.arange(rows) * vocabulary_size)
    row = np.repeat(np.arange(rows), np.diff(begins, append=len(places)))
    ids = places - row * vocabulary_size
    values = distribution.logits.reshape(-1)[places] - distribution.log_sum[row]
    offset = np.minimum.reduceat(values, begins).astype(np.float32)
    scale = ((np.maximum.reduceat(values, begins) - offset) / _LARGEST_CODE).astype(np.float32)
    divisor = np.where(scale > 0, scale, np.float32(1)).astype(np.float64)
    codes = np.rint((values - offset[row]) / divisor[row]).clip(0, _LARGEST_CODE).astype(np.uint16)
    steps, step_counts = _distances(ids, begins, row, rows)
    return KeptRows(
        surprise.astype(np.float32),
        distribution.top.astype(np.uint32),
        floor,
        scale,
        offset,
        step_counts,
        steps,
        codes,
    )


def joined(parts: Sequence[KeptRows]) -> KeptRows:
    """Return the rows of all parts as one."""
    import numpy as np

    return KeptRows(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(KeptRows))
    )


def _distances(
    ids: NDArray[np.int64], begins: NDArray[np.int64], row: NDArray[np.int64], rows: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Write ascending ids of each row as distances in bytes; return these and how many each row has."""
    import numpy as np

    distance = np.diff(ids, prepend=0)
    distance[begins] = ids[begins]
    full, left = np.divmod(distance, _FULL_STEP)
    steps = np.full(len(ids) + int(full.sum()), _FULL_STEP, np.uint8)
    steps[np.cumsum(full + 1) - 1] = left
    return steps, np.bincount(row, weights=full + 1, minlength=rows).astype(np.uint32)
