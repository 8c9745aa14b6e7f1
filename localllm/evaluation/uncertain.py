"""A measured quantity with its standard error."""

from __future__ import annotations

from dataclasses import dataclass

NORMAL_975 = 1.959964  # so many standard errors to either side hold 95 % of a normal distribution


@dataclass(frozen=True)
class Uncertain:
    """A measured quantity with its standard error."""

    value: float
    stderr: float
