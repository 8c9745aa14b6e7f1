"""Whether all weight files of a checkpoint or an adapter are there, told by names and the index alone."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from localllm.checkpoint import WEIGHTS_INDEX, read_json
from localllm.errors import LocalLLMError

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapters.safetensors")
_WEIGHTS = re.compile(r"model.*\.safetensors")
_NUMBERED = re.compile(r"(?P<stem>model.*)-\d{5}-of-(?P<total>\d{5})\.safetensors")


def weight_files(names: Collection[str]) -> list[str]:
    """Return which files of a directory hold weights."""
    if is_adapter(names):
        return sorted(name for name in names if name in _ADAPTER_WEIGHTS)
    return sorted(filter(_WEIGHTS.fullmatch, names))


def is_adapter(names: Collection[str]) -> bool:
    """Tell whether a directory with these files is an adapter."""
    return ADAPTER_CONFIG in names and CONFIG not in names


def has_all_weights(directory: Path, names: Collection[str]) -> bool:
    """Tell whether no weights are missing among the files `names` of a checkpoint or an adapter."""
    present = weight_files(names)
    if is_adapter(names):
        return bool(present)
    if WEIGHTS_INDEX in names:
        needed = _indexed(directory / WEIGHTS_INDEX)
        return bool(needed) and needed <= set(names)
    numbered = [match for name in present if (match := _NUMBERED.fullmatch(name))]
    announced = {(match["stem"], int(match["total"])) for match in numbered}
    return bool(present) and len(numbered) == sum(total for _, total in announced)


def _indexed(index: Path) -> set[str]:
    """Return the files an index names; none when it cannot be read."""
    try:
        content = read_json(index)
    except LocalLLMError:
        return set()
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    return {str(name) for name in weight_map.values()} if isinstance(weight_map, dict) else set()
