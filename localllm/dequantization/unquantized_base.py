"""The name of the model a quantized checkpoint was made from. The model card is a stranger's text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from localllm.checkpoint import Checkpoint

_CARD = "README.md"
_CARD_BYTES = 64 * 1024
_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(.*?)\r?\n---", re.DOTALL)
_MAX_NAME = 96  # what the hub allows
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


def unquantized_base(checkpoint: Checkpoint) -> str | None:
    """Return the model the card calls `base_model`, else what config.json was loaded from; None if neither.

    Only names as the hub has them: no paths, no control characters.
    """
    own_name = checkpoint.directory.resolve().name
    for name in _candidates(checkpoint):
        if _HUB_NAME.fullmatch(name) and len(name) <= _MAX_NAME and name.split("/")[-1] != own_name:
            return name
    return None


def _candidates(checkpoint: Checkpoint) -> Iterator[str]:
    stated = _front_matter(checkpoint).get("base_model")
    yield from (name for name in (stated if isinstance(stated, list) else [stated]) if isinstance(name, str))
    origin = checkpoint.config.get("_name_or_path")
    if isinstance(origin, str) and "/" in origin:  # a single word is more often a directory
        yield origin


def _front_matter(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what the card says about itself; one that cannot be parsed says nothing."""
    try:
        with (checkpoint.directory / _CARD).open("rb") as file:
            text = file.read(_CARD_BYTES).decode("utf-8", errors="replace")
        match = _FRONT_MATTER.match(text)
        content = yaml.safe_load(match[1]) if match else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
