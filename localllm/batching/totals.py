"""What an engine has done since it was made."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Totals:
    """Counts; what several engines did can be added.

    `prompt_tokens` are those of all prompts and embedded texts, `cached_tokens` those of them that were not
    read again; `decode_seconds` is the time that the `decode_calls` for answers took.
    """

    requests: int = 0
    finished_requests: int = 0
    cancelled_requests: int = 0
    failed_requests: int = 0
    refused_requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    decode_calls: int = 0
    decode_seconds: float = 0.0

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Totals)))
