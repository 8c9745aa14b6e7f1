"""What adapter_config.json says: ranks, scales, and the kinds of adapter that are refused by name.

Scales: alpha / rank, with rsLoRA alpha / √rank (Kalajdzievski 2023, arXiv:2312.03732); patterns set rank
and alpha for single modules, matched as PEFT does. MLX writes the scale itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localllm.checkpoint import read_json
from localllm.errors import CheckpointError, UnsupportedModelError

CONFIG_NAME = "adapter_config.json"
_MERGE_WITH_PEFT = "merge it with PEFT's `merge_and_unload()` and convert the result"
# initialisations that change the base weights, so that the adapter does not fit the published base
_CHANGED_BASES = ("pissa", "olora", "corda", "loftq", "lora_ga")
# entries that change what an adapter computes and are not supported
_REFUSED = {
    "layer_replication": "repeats layers of the base (layer_replication)",
    "target_parameters": "adapts bare parameters (target_parameters)",
    "alora_invocation_tokens": "is an activated LoRA, which only applies after its invocation tokens",
    "arrow_config": "is routed by Arrow",
    "use_qalora": "is a QA-LoRA adapter",
    "use_bdlora": "is a block-diagonal LoRA adapter",
}


@dataclass(frozen=True)
class AdapterSettings:
    """adapter_config.json of one adapter, checked."""

    values: Mapping[str, Any]

    @property
    def base(self) -> str | None:
        """Return the base model as the config names it."""
        name = self.values.get("base_model_name_or_path") or self.values.get("model")
        return name if isinstance(name, str) and name else None

    @property
    def is_mlx(self) -> bool:
        return "peft_type" not in self.values and isinstance(self.values.get("lora_parameters"), Mapping)

    @property
    def ties_weights(self) -> bool:
        """Tell whether an adapted embedding was trained tied to the head (PEFT's ensure_weight_tying)."""
        return bool(self.values.get("ensure_weight_tying"))

    def scale(self, module: str, rank: int) -> float:
        """Return the factor of B·A for `module` with a lora_A of `rank` rows.

        Raise CheckpointError when the config states another rank or no usable alpha.
        """
        if self.is_mlx:
            return self._number(self.values["lora_parameters"].get("scale"), "lora_parameters.scale")
        stated = self._for_module("rank_pattern", module, self.values.get("r"))
        if stated != rank:
            raise CheckpointError(
                f"{CONFIG_NAME} gives `{module}` the rank {stated}, its weights have rank {rank}",
                hint="the config belongs to another adapter; copy the one saved with these weights",
            )
        alpha = self._for_module("alpha_pattern", module, self.values.get("lora_alpha"))
        alpha = self._number(alpha, "lora_alpha")
        return alpha / math.sqrt(rank) if self.values.get("use_rslora") else alpha / rank

    def trained_rows(self, module: str) -> list[int]:
        """Return the embedding rows that `module` replaces (trainable_token_indices)."""
        given = self.values.get("trainable_token_indices")
        if isinstance(given, Mapping):
            given = next((rows for name, rows in given.items() if _matches(name, module)), None)
        if not isinstance(given, list) or not all(isinstance(row, int) for row in given):
            raise CheckpointError(f"{CONFIG_NAME} does not say which tokens of `{module}` were trained")
        return given

    def _for_module(self, pattern: str, module: str, default: Any) -> Any:
        patterns = self.values.get(pattern) or {}
        return next((value for key, value in patterns.items() if _matches(key, module)), default)

    def _number(self, value: Any, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise CheckpointError(f"{CONFIG_NAME}: {name} must be a number, not {value!r}")
        return float(value)


def is_adapter(path: Path) -> bool:
    """Tell whether `path` is an adapter directory and not a whole model."""
    return (path / CONFIG_NAME).is_file() and not (path / "config.json").is_file()


def read_settings(directory: Path) -> AdapterSettings:
    """Read adapter_config.json. Raise CheckpointError; UnsupportedModelError for what is not LoRA."""
    path = directory / CONFIG_NAME
    if not path.is_file():
        raise CheckpointError(
            f"{directory} has no {CONFIG_NAME}", hint="pass the directory that `save_pretrained` wrote"
        )
    values = read_json(path)
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{path} does not hold a JSON object")
    settings = AdapterSettings(values)
    if not settings.is_mlx:
        _refuse_other_methods(directory, values)
    return settings


def _refuse_other_methods(directory: Path, values: Mapping[str, Any]) -> None:
    method = str(values.get("peft_type") or "unknown")
    if method.upper() != "LORA":
        raise UnsupportedModelError(
            f"{directory} is a {method} adapter; only LoRA can be converted", hint=_MERGE_WITH_PEFT
        )
    task = values.get("task_type")
    if task not in (None, "CAUSAL_LM"):
        raise UnsupportedModelError(
            f"{directory} was trained for {task}, not to write text (CAUSAL_LM)",
            hint="only adapters of language models can be converted",
        )
    start = str(values.get("init_lora_weights")).lower()
    if start.startswith(_CHANGED_BASES):
        raise UnsupportedModelError(
            f"{directory} was initialised with {start}, which changed the base weights it belongs to",
            hint="save it with `path_initial_model_for_weight_conversion`, or merge it with PEFT",
        )
    for name, meaning in _REFUSED.items():
        if values.get(name):
            raise UnsupportedModelError(f"{directory} {meaning}", hint=_MERGE_WITH_PEFT)


def _matches(pattern: str, module: str) -> bool:
    """Tell whether a key of a pattern means `module`: the name, its end, or a regular expression."""
    try:
        return re.match(rf"(.*\.)?({pattern})$", module) is not None
    except re.error:
        return False
