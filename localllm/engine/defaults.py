"""Which value a sampling option has when nobody gives one: the file's, generation_config.json's or ours.

The keys of the file are llama.cpp's (`general.sampling.*`), those of generation_config.json transformers'.
Values out of range are passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeGuard

from localllm.engine.base import Setting, Source
from localllm.engine.options import SamplingOptions
from localllm.gguf_file import GGUFHeader

GENERATION_CONFIG = "generation_config.json"
DEFAULT_TEMPERATURE = 0.7
DEFAULT_TOP_P = 0.95
DEFAULT_TOP_K = 40
DEFAULT_MIN_P = 0.05
DEFAULT_REPEAT_PENALTY = 1.0
_MAX_CONFIG_BYTES = 1024 * 1024

DEFAULTS: Mapping[str, Any] = {
    "temperature": DEFAULT_TEMPERATURE,
    "top_p": DEFAULT_TOP_P,
    "top_k": DEFAULT_TOP_K,
    "min_p": DEFAULT_MIN_P,
    "repeat_penalty": DEFAULT_REPEAT_PENALTY,
}
# option -> its name behind general.sampling., that in generation_config.json, and the range it is taken in
_NAMES = {
    "temperature": ("temp", "temperature", 0.0, 2.0),
    "top_p": ("top_p", "top_p", 0.0, 1.0),
    "top_k": ("top_k", "top_k", 0, 2**31 - 1),
    "min_p": ("min_p", "min_p", 0.0, 1.0),
    "repeat_penalty": ("penalty_repeat", "repetition_penalty", 0.01, 10.0),
}


def recommended(header: GGUFHeader, config: Mapping[str, Any]) -> dict[str, Setting]:
    """Return what to use for each of DEFAULTS, by the file, else `config`, else ours."""
    found = {name: Setting(value, Source.DEFAULT) for name, value in DEFAULTS.items()}
    for name, (key, config_key, low, high) in _NAMES.items():
        candidates = (
            (header.number(f"general.sampling.{key}"), Source.FILE),
            (config.get(config_key), Source.GENERATION_CONFIG),
        )
        for value, source in candidates:
            if _is_number(value) and low <= value <= high:
                found[name] = Setting(int(value) if name == "top_k" else float(value), source)
                break
    return found


def read_generation_config(directory: Path) -> Mapping[str, Any]:
    """Return the generation_config.json of a directory; empty when there is none that can be read."""
    path = directory / GENERATION_CONFIG
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_CONFIG_BYTES)
        values = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def effective(options: SamplingOptions, defaults: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return every option with its value and source."""
    found = {}
    for field in fields(SamplingOptions):
        value = getattr(options, field.name)
        if value is None and field.name in defaults:
            found[field.name] = defaults[field.name]
        else:
            source = Source.DEFAULT if value == field.default else Source.GIVEN
            found[field.name] = Setting(value, source)
    return found


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
