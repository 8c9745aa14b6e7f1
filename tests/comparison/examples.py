"""Measurements and settings to try things on."""

from __future__ import annotations

from typing import Any

from localllm.comparison import Measurement, Settings, Speed, Uncertain

SETTINGS = Settings(
    threads=2,
    repetitions=5,
    prompt_tokens=512,
    generated_tokens=128,
    depth=0,
    context_size=512,
    chunks=8,
    evaluated_tokens=2040,
    texts=("eval.txt",),
    text_source="model",
    chat_format=False,
    max_kl_divergence=0.03,
    min_same_top_token=0.95,
)


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
