"""What a caller may ask of a completion, with the ranges checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from localllm.errors import UsageError

DEFAULT_TEMPERATURE = 0.7
DEFAULT_TOP_P = 0.95
DEFAULT_TOP_K = 40
DEFAULT_MIN_P = 0.05
MAX_SEED = 2**32 - 2


@dataclass(frozen=True)
class SamplingOptions:
    """Sampling settings; None means "what the model file recommends, else localllm's default".

    `temperature` 0 to 2 (0 is greedy), `top_p` and `min_p` 0 to 1, `top_k` tokens (0: no limit),
    `max_tokens` at least 1 (None: until the context is full), `presence_penalty` and
    `frequency_penalty` -2 to 2, `repeat_penalty` above 0, `seed` for repeatable answers, `stop`
    texts that end the answer and are not part of it.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int | None = None
    repeat_penalty: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_range("temperature", self.temperature, 0, 2)
        _check_range("top_p", self.top_p, 0, 1)
        _check_range("min_p", self.min_p, 0, 1)
        _check_range("top_k", self.top_k, 0, 2**31 - 1)
        _check_range("max_tokens", self.max_tokens, 1, 2**31 - 1)
        _check_range("presence_penalty", self.presence_penalty, -2, 2)
        _check_range("frequency_penalty", self.frequency_penalty, -2, 2)
        _check_range("repeat_penalty", self.repeat_penalty, 0.01, 10)
        _check_range("seed", self.seed, 0, MAX_SEED)
        if any(not text for text in self.stop):
            raise UsageError("a stop text must not be empty")

    def over(self, defaults: dict[str, Any]) -> SamplingOptions:
        """Return these options with every None replaced from `defaults`."""
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return replace(self, **missing)


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise UsageError(f"{name} must be between {low:g} and {high:g}, not {value:g}")
