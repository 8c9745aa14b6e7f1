"""Measurements and settings to try things on."""

from __future__ import annotations

from typing import Any

from localllm.comparison import Measurement, Speed, Uncertain


def speed(value: float, spread: float = 0.01, count: int = 5) -> Speed:
    """Return samples around a value, up to so large a share away from it."""
    samples = tuple(value * (1 + spread * (2 * index / max(1, count - 1) - 1)) for index in range(count))
    return Speed(value, value * spread / 2, min(samples), max(samples), samples)


def row(level: str, size: int, *, reference: bool = False, **figures: Any) -> Measurement:
    """Return a measurement; `kl` and `top` are (value, standard error), `rate` tokens per second."""
    kl, top, rate = (figures.pop(name, None) for name in ("kl", "top", "rate"))
    return Measurement(
        level=level,
        path=f"/models/{level}.gguf",
        size_bytes=size,
        is_reference=reference,
        kl_divergence=None if kl is None else Uncertain(*kl),
        same_top_token=None if top is None else Uncertain(*top),
        generation_tokens_per_second=speed(rate) if isinstance(rate, float) else rate,
        **figures,
    )
