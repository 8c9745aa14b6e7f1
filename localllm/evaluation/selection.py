"""Which tokens of a distribution are kept, so that divergences from it can be estimated without bias.

A token of probability P is kept with probability π = min(1, c·P): all tokens above 1/c are, the others in
proportion to their probability. c is as large as the room allows; with 2·10⁵ the tokens that may be left out
are those below 5·10⁻⁶, and more is not taken. The draw is systematic: along the vocabulary, and on from one
row to the next, a token is kept where the sum of π passes a whole number, counted from a start that is drawn
once. So the number of tokens hardly varies.
Source: Särndal, Swensson, Wretman, Model Assisted Survey Sampling (1992), section 3.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LARGEST_RATE = 2e5


def select(
    probabilities: NDArray[np.float32], room: int, start: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return which tokens are kept, as ascending places in the flat array, and 1/c of each row.

    `probabilities` has shape (rows, vocabulary). Of a row about `room` tokens are kept at most, and one at
    least. `start` is a random number in [0, 1).
    """
    import numpy as np

    rates = np.full(len(probabilities), _LARGEST_RATE, np.float32)
    chances = _chances(probabilities, rates)
    crowded = np.flatnonzero(chances.sum(axis=1) > room)
    if len(crowded):
        rows = probabilities[crowded]
        rates[crowded] = _rates(rows, room)
        chances[crowded] = _chances(rows, rates[crowded])
    passed = np.cumsum(chances, dtype=np.float64)
    passed += start
    numbers = passed.astype(np.int32)
    is_kept = np.empty(len(numbers), np.bool_)
    is_kept[0] = numbers[0] > 0
    np.not_equal(numbers[1:], numbers[:-1], out=is_kept[1:])
    return np.flatnonzero(is_kept), np.float32(1) / rates


def _chances(probabilities: NDArray[np.float32], rates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return π = min(1, c·P) of each token."""
    import numpy as np

    chances: NDArray[np.float32] = probabilities * rates[:, None]
    return np.minimum(chances, np.float32(1), out=chances)


def _rates(probabilities: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """Return for each row the c for which Σ min(1, c·P) is `count`, less than there are tokens."""
    import numpy as np

    others = probabilities.shape[1] - count
    largest = np.sort(np.partition(probabilities, others, axis=1)[:, others:], axis=1)[:, ::-1]
    # with the first k kept for certain the rest shares what room is left; k is the least for which it does
    before = np.cumsum(largest, axis=1, dtype=np.float64) - largest
    candidates = (count - np.arange(count)) / np.maximum(1 - before, 1 / _LARGEST_RATE)
    k = (largest * candidates < 1).argmax(axis=1)
    found: NDArray[np.float64] = candidates[np.arange(len(k)), k]
    return np.minimum(found, _LARGEST_RATE)
