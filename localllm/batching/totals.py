"""What an engine has done since it was made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Totals:
    """Counts; `job_seconds` is what a finished request takes on the average, of late."""

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
    job_seconds: float = 1.0
