"""What the scores of a text say about a model: llama-perplexity's figures, with its standard errors.

Positions count as independent, as there. Source: tools/perplexity/perplexity.cpp of llama.cpp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localllm.evaluation.scores import Scores
from localllm.evaluation.uncertain import Uncertain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FEWEST = 10  # with no more values than this standard errors are 0, as in llama-perplexity
_HIGH_SHARE = 0.99


@dataclass(frozen=True)
class Quality:
    """How well a model predicts a text of `tokens` scored tokens, and how close it comes to a reference.

    Divergences are in nats, `same_top_token` is a share, `rms_delta_p` a difference of probabilities.
    None is what was not measured.
    """

    tokens: int
    perplexity: Uncertain | None = None
    perplexity_ratio: Uncertain | None = None
    kl_divergence: Uncertain | None = None
    kl_divergence_p99: Uncertain | None = None
    same_top_token: Uncertain | None = None
    rms_delta_p: Uncertain | None = None


def summarise(scores: Scores) -> Quality:
    """Return the figures that follow from `scores`."""
    count = len(scores)
    if not count:
        return Quality(0)
    perplexity = _exponential(_mean(scores.nll))
    if scores.kl is None or scores.reference_nll is None or scores.same_top is None or scores.delta_p is None:
        return Quality(count, perplexity)
    return Quality(
        count,
        perplexity,
        perplexity_ratio=_exponential(_mean(scores.nll - scores.reference_nll)),
        kl_divergence=_mean(scores.kl),
        kl_divergence_p99=quantile(scores.kl, _HIGH_SHARE),
        same_top_token=_share(scores.same_top),
        rms_delta_p=_root_mean_square(scores.delta_p),
    )


def kl_difference(first: Scores, second: Scores) -> Uncertain:
    """Return how much further the first model is from the reference than the second, position by position.

    Raise ValueError when they were not compared with one reference at the same positions.
    """
    import numpy as np

    if first.kl is None or second.kl is None or len(first) != len(second):
        raise ValueError("the scores are not of the same positions")
    if not np.array_equal(_present(first.reference_nll), _present(second.reference_nll)):
        raise ValueError("the scores are not of one reference")
    return _mean(first.kl.astype(np.float64) - second.kl)


def quantile(values: NDArray[Any], share: float) -> Uncertain:
    """Return the value below which `share` of the values lie, between two of them by linear interpolation.

    Its standard error is half of what lies between the values √(n·p·(1-p)) ranks below and above: an interval
    of 68 % that does not depend on the distribution (Woodruff 1952). Beyond the largest value nothing is
    known: there it is too small.
    """
    import numpy as np

    count = len(values)
    spread = math.sqrt(share * (1 - share) / count)
    around = [share, max(0.0, share - spread), min(1.0, share + spread)]
    value, low, high = np.quantile(values.astype(np.float64), around)
    return Uncertain(float(value), float(high - low) / 2)


def _mean(values: NDArray[Any]) -> Uncertain:
    import numpy as np

    exact = values.astype(np.float64, copy=False)
    count = len(exact)
    variance = float(exact.var()) / (count - 1) if count > _FEWEST else 0.0
    return Uncertain(float(exact.mean()), math.sqrt(variance))


def _exponential(logarithm: Uncertain) -> Uncertain:
    value = math.exp(logarithm.value)
    return Uncertain(value, value * logarithm.stderr)


def _share(values: NDArray[np.bool_]) -> Uncertain:
    share, count = float(values.mean()), len(values)
    return Uncertain(share, math.sqrt(share * (1 - share) / (count - 1)) if count > 1 else 0.0)


def _root_mean_square(values: NDArray[Any]) -> Uncertain:
    import numpy as np

    square = _mean(values.astype(np.float64) ** 2)
    root = math.sqrt(square.value)
    return Uncertain(root, square.stderr / (2 * root) if root else 0.0)


def _present(values: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if values is None:
        raise ValueError("the scores were not compared with a reference")
    return values
