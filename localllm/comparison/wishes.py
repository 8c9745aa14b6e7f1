"""What is to be measured in a comparison, and what loss is allowed."""

from __future__ import annotations

from dataclasses import dataclass

from localllm.comparison.quality import Limits, Text
from localllm.comparison.tasks import Task

MAX_KL_DIVERGENCE = 0.03
MIN_SAME_TOP_TOKEN = 0.95


@dataclass(frozen=True)
class SpeedSettings:
    """How speeds are measured; sizes in tokens."""

    repetitions: int
    prompt_tokens: int
    generated_tokens: int
    depth: int


@dataclass(frozen=True)
class Wishes:
    """What to measure: no speeds without `speed`, no quality without `text`; and what loss is allowed."""

    threads: int
    speed: SpeedSettings
    measures_speed: bool
    text: Text | None
    limits: Limits
    prompts: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()
    max_kl_divergence: float = MAX_KL_DIVERGENCE
    min_same_top_token: float = MIN_SAME_TOP_TOKEN
    force: bool = False
