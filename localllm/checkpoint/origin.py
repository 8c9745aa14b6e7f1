"""What a checkpoint was made from, as it says itself. The model card is a stranger's text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from localllm.checkpoint.directory import Checkpoint

_CARD = "README.md"
_CARD_BYTES = 64 * 1024
_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(.*?)\r?\n---", re.DOTALL)
_MAX_NAME = 96  # what the hub allows
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


def stated_bases(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield what the card calls `base_model`, as the hub has names, then where config.json was loaded from.

    The latter may be a path of the machine it was trained on; no name has control characters.
    """
    stated = _front_matter(checkpoint).get("base_model")
    for name in stated if isinstance(stated, list) else [stated]:
        if isinstance(name, str) and is_hub_name(name):
            yield name
    origin = checkpoint.config.get("_name_or_path")
    if isinstance(origin, str) and origin and origin.isprintable():
        yield origin


def is_hub_name(name: str) -> bool:
    """Tell whether a model on the hub can be called so: no path, no control characters."""
    return _HUB_NAME.fullmatch(name) is not None and len(name) <= _MAX_NAME


def _front_matter(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what the card says about itself; one that cannot be parsed says nothing."""
    import yaml

    try:
        with (checkpoint.directory / _CARD).open("rb") as file:
            text = file.read(_CARD_BYTES).decode("utf-8", errors="replace")
        match = _FRONT_MATTER.match(text)
        content = yaml.safe_load(match[1]) if match else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
