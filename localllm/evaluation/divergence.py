"""The Kullback-Leibler divergence of a model from a reference of which only some tokens were kept.

KL = Σ P·log(P/Q) over the vocabulary is also Σ P·g(Q/P) with g(r) = r - 1 - log r, because both
distributions sum to one. A kept token stands for 1/π such tokens (see `selection`), so that the estimate
Σ P/π·g(Q/P) over the kept tokens has no bias; its terms are never negative and of second order in what
differs, so that it is also exact to a few percent for a distribution that is flat and hardly kept.
g grows with Q/P where Q is much larger: a token that is seldom kept could then count far too much. Where
Q > 4/c the part Q of g is therefore not estimated but taken from the model itself, which is known as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from localllm.evaluation.kept_rows import KeptRows
    from localllm.evaluation.softmax import Softmax

_HEAVY = 4.0


def divergence(distribution: Softmax, reference: KeptRows) -> NDArray[np.float64]:
    """Return the divergence at each row of `distribution` from the same row of `reference`."""
    import numpy as np

    count, vocabulary_size = distribution.logits.shape
    row, log_p = reference.rows, reference.log_probabilities
    floor = reference.floor.astype(np.float64)
    flat = distribution.logits.reshape(-1)
    logits = flat[row * vocabulary_size + reference.ids]
    log_ratio = logits - distribution.log_sum[row] - log_p
    ratio_less_one = np.expm1(log_ratio)
    weights = np.maximum(np.exp(log_p), floor[row])  # P/π
    estimate = np.zeros(count)
    estimate += np.bincount(row, weights * (ratio_less_one - log_ratio), count)
    limit = (np.log(_HEAVY * floor) + distribution.log_sum).astype(np.float32)
    heavy = logits > limit[row]
    estimate -= np.bincount(row[heavy], (weights * (ratio_less_one + 1))[heavy], count)
    places = np.flatnonzero(distribution.logits > limit[:, None])
    heavy_row = places // vocabulary_size
    estimate += np.bincount(heavy_row, np.exp(flat[places] - distribution.log_sum[heavy_row]), count)
    return estimate
