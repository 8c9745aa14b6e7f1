"""How figures are written for people: with the digits that their error leaves, and no more.

A figure that was not measured is None and becomes no text here; whoever shows it puts a dash.
"""

from __future__ import annotations

import math

from localllm.comparison.measurement import Speed, Uncertain

_DIGITS_WITHOUT_ERROR = 4
_MOST_DECIMALS = 7


def with_error(quantity: Uncertain, scale: float = 1.0) -> str:
    """Return value and standard error: 0.01234 ±0.00012.

    The error has one digit, two where it begins with 1.
    """
    value, error = quantity.value * scale, quantity.stderr * scale
    if not math.isfinite(value):
        return str(value)
    if not math.isfinite(error) or error <= 0:
        return significant(value)
    decimals = decimals_for(error)
    return f"{value:.{decimals}f} ±{error:.{decimals}f}"


def percent_with_error(share: Uncertain) -> str:
    """Return a share as a percentage: 98.2 ±0.1 %."""
    return f"{with_error(share, 100)} %"


def percent(share: float) -> str:
    """Return a share as a percentage with three digits at most: 23.4 %, 100 %."""
    value = share * 100
    return f"{value:.0f} %" if value >= 99.95 else f"{value:.1f} %"


def speed(measured: Speed) -> str:
    """Return tokens per second with the standard error: 402 ±4."""
    return with_error(Uncertain(measured.value, measured.stderr))


def significant(value: float, digits: int = _DIGITS_WITHOUT_ERROR) -> str:
    """Return a number with so many significant digits, without an exponent: 0.01234."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{min(max(decimals, 0), _MOST_DECIMALS + 2)}f}"


def decimals_for(error: float) -> int:
    """Return how many decimals a value with this standard error (above 0) is worth."""
    exponent = math.floor(math.log10(error))
    leading = error / 10**exponent
    digits = 2 if leading < 1.95 else 1
    return min(max(digits - 1 - exponent, 0), _MOST_DECIMALS)
