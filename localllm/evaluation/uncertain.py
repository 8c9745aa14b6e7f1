"""A measured quantity with its standard error."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Uncertain:
    """A measured quantity with its standard error."""

    value: float
    stderr: float
