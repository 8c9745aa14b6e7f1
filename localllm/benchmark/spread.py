"""What repetitions of a measurement say: middle, spread, whether two differ, and what looks wrong."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

# modified Z score above which a sample is an outlier (Iglewicz and Hoaglin, 1993), and how far off it must be
_OUTLIER_SCORE = 3.5
_OUTLIER_SHARE = 0.05
_MAD_OF_NORMAL = 0.6745  # median absolute deviation of a normal distribution with deviation 1
_FEWEST_FOR_OUTLIERS = 4
# what share of all pairs must have the later one slower, and by how much the end must be, to call it
# throttling
_FALLING_PAIRS = 0.9
_FALLING_SHARE = 0.05
_FEWEST_FOR_TREND = 4
_NORMAL_975 = 1.959964


class Doubt(StrEnum):
    """What can be wrong with the repetitions of a measurement, and what may be the reason."""

    OUTLIERS = "some repetitions are far from the others: something else may be using this machine"
    FALLING = "later repetitions were slower than those before: the processor may be throttling"
    BUSY = "other programs were using the processor: on a quiet machine it is faster"


@dataclass(frozen=True)
class Spread:
    """The median of some samples, the standard error of their mean (0 for one), and the extremes."""

    median: float
    stderr: float
    low: float
    high: float
    count: int


def spread_of(samples: Sequence[float]) -> Spread:
    """Return the spread of at least one sample."""
    deviation = statistics.stdev(samples) if len(samples) > 1 else 0.0
    return Spread(
        statistics.median(samples),
        deviation / math.sqrt(len(samples)),
        min(samples),
        max(samples),
        len(samples),
    )


def clearly_apart(left: Sequence[float], right: Sequence[float], *, least_share: float = 0.0) -> bool:
    """Tell whether the means of two sets of samples differ, at 95 % (Welch's t test).

    One sample alone has no error that is known: then nothing can be said, and the answer is no. Neither do
    they differ when they lie within `least_share` of the larger one.
    """
    if len(left) < 2 or len(right) < 2:
        return False
    difference = abs(statistics.fmean(left) - statistics.fmean(right))
    if difference <= least_share * max(statistics.fmean(left), statistics.fmean(right)):
        return False
    parts = [statistics.variance(samples) / len(samples) for samples in (left, right)]
    total = sum(parts)
    if total == 0.0:
        return difference > 0.0
    degrees = total**2 / sum(
        part**2 / (len(samples) - 1) for part, samples in zip(parts, (left, right), strict=True)
    )
    return difference > _t_975(degrees) * math.sqrt(total)


def doubt_about(samples: Sequence[float]) -> Doubt | None:
    """Return what looks wrong with speeds in the order they were measured; mostly nothing."""
    if is_falling(samples):
        return Doubt.FALLING
    return Doubt.OUTLIERS if outliers(samples) else None


def outliers(samples: Sequence[float]) -> list[float]:
    """Return the samples that are far from the others, by their modified Z score."""
    if len(samples) < _FEWEST_FOR_OUTLIERS:
        return []
    median = statistics.median(samples)
    deviation = statistics.median(abs(sample - median) for sample in samples)
    return [sample for sample in samples if _is_outlier(sample, median, deviation)]


def _is_outlier(sample: float, median: float, deviation: float) -> bool:
    distance = abs(sample - median)
    if distance <= _OUTLIER_SHARE * median:
        return False
    return deviation == 0.0 or _MAD_OF_NORMAL * distance / deviation > _OUTLIER_SCORE


def is_falling(samples: Sequence[float]) -> bool:
    """Tell whether nearly every sample is below those before it, and the last clearly below the first."""
    if len(samples) < _FEWEST_FOR_TREND or samples[-1] > (1 - _FALLING_SHARE) * samples[0]:
        return False
    pairs = list(combinations(samples, 2))
    return sum(later < earlier for earlier, later in pairs) >= _FALLING_PAIRS * len(pairs)


def _t_975(degrees: float) -> float:
    """Return the 97.5 % quantile of Student's t, within 1 % for 3 degrees of freedom and more.

    Cornish-Fisher expansion around the normal quantile (Abramowitz and Stegun, 26.7.5); exact values below.
    """
    if degrees < 2:
        return 12.706
    if degrees < 3:
        return 4.303
    z = _NORMAL_975
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / degrees**power for power, term in enumerate(terms))
