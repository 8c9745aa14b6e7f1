"""How a model is to be run: what is decided when it is loaded, not with every question."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from localllm.errors import UsageError

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
FLASH_ATTENTION = ("auto", "on", "off")
_PLAIN_TYPES = ("f32", "f16", "bf16")
_MAX_CONTEXT = 2**26
_MAX_THREADS = 512


@dataclass(frozen=True)
class EngineOptions:
    """Settings of an engine.

    `context` in tokens (None: what the conversation needs, up to what fits), `threads` (None: the usable
    cores), `gpu_layers` a number, "all" or "auto" (what fits), `cache_type_k` and `cache_type_v` what the
    attention cache is kept in, `flash_attention` "auto", "on" or "off", `adapters` GGUF LoRA files with
    their scales, `template` the source of a chat template in place of the model's own. Raise UsageError
    for what is out of range or contradictory.
    """

    context: int | None = None
    threads: int | None = None
    gpu_layers: int | str = "auto"
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attention: str = "auto"
    adapters: tuple[tuple[Path, float], ...] = ()
    template: str | None = None

    def __post_init__(self) -> None:
        _check_count("context", self.context, 1, _MAX_CONTEXT)
        _check_count("threads", self.threads, 1, _MAX_THREADS)
        if isinstance(self.gpu_layers, str):
            _check_choice("gpu_layers", self.gpu_layers, ("auto", "all"))
        else:
            _check_count("gpu_layers", self.gpu_layers, 0, 2**31 - 1)
        _check_choice("cache_type_k", self.cache_type_k, CACHE_TYPES)
        _check_choice("cache_type_v", self.cache_type_v, CACHE_TYPES)
        _check_choice("flash_attention", self.flash_attention, FLASH_ATTENTION)
        if self.flash_attention == "off" and self.cache_type_v not in _PLAIN_TYPES:
            raise UsageError(
                f"cache_type_v {self.cache_type_v} needs flash attention, which is off",
                hint="leave flash attention on `auto`, or keep values in f16",
            )
        for path, scale in self.adapters:
            if not math.isfinite(scale):
                raise UsageError(f"the scale of adapter {path} must be a number, not {scale:g}")


def _check_count(name: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise UsageError(f"{name} must be between {low} and {high}, not {value}")


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} must be one of {', '.join(known)}, not {value!r}")
