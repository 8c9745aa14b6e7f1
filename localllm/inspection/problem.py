"""What is noticed about a file, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something to know before relying on a file; `topic` is stable, for programs."""

    topic: str
    message: str
    hint: str | None = None
