"""What a checkpoint was made from, as it says itself. The model card is a stranger's text."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localllm.checkpoint.directory import Checkpoint

_CARD = "README.md"
_CARD_BYTES = 16 * 1024 * 1024
_MAX_NAME = 96  # what the hub allows
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


def name_of_directory(directory: Path) -> str:
    """Return what a checkpoint's directory is called; in the hub's cache that is its repository's name."""
    path = directory.resolve()
    repository = path.parent.parent.name
    if path.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.rpartition("--")[2]
    return path.name


def stated_bases(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield what the card calls `base_model`, as the hub has names, then where config.json was loaded from.

    The latter may be a path of the machine it was trained on; no name has control characters.
    """
    stated = model_card(checkpoint.directory).get("base_model")
    for name in stated if isinstance(stated, list) else [stated]:
        if isinstance(name, str) and is_hub_name(name):
            yield name
    origin = checkpoint.config.get("_name_or_path")
    if isinstance(origin, str) and origin and origin.isprintable():
        yield origin


def is_hub_name(name: str) -> bool:
    """Tell whether a model on the hub can be called so: no path, no control characters."""
    return _HUB_NAME.fullmatch(name) is not None and len(name) <= _MAX_NAME


def model_card(directory: Path) -> dict[str, Any]:
    """Return the front matter of the model card; one that is huge or cannot be parsed says nothing.

    It is read by the gguf package, as other converters read it.
    """
    import gguf
    import yaml

    logging.getLogger("gguf").setLevel(logging.ERROR)  # it reports every heuristic it tries
    try:
        if (directory / _CARD).stat().st_size > _CARD_BYTES:
            return {}
        card: dict[str, Any] = gguf.Metadata.load_model_card(directory)
    except (yaml.YAMLError, ValueError, OSError, RecursionError):
        return {}
    return card
