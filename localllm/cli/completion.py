"""Completes model names and levels behind the Tab key, from file names alone: no header is read.

Shells pass the word in front of the cursor and keep what begins with it, so that levels are offered in the
case they were begun in. `shells` knows how they ask and are answered.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localllm.hub.cache import CachedRepo

_PATHS = (".", "/", "~", "\\")
_WEIGHTS = (".gguf", ".safetensors")
_head = ""


def begins_behind(head: str) -> None:
    """Take what is completed from now on for what follows `head`, and offer only that."""
    global _head
    _head = head


def complete_model(incomplete: str) -> list[str]:
    """Return the names of models on this machine that begin so, with their levels when only one does."""
    names = _models(_head + incomplete)
    return [name[len(_head) :] for name in names if name.startswith(_head)]


def complete_level(incomplete: str) -> list[str]:
    """Return the levels that begin so; `incomplete` may be a list with commas."""
    from localllm.quantization.levels import LEVELS

    before, comma, begun = incomplete.rpartition(",")
    names = [name for name in ("recommended", "all", *LEVELS) if name.lower().startswith(begun.lower())]
    return [before + comma + _in_case_of(begun, name) for name in names]


def _models(begun: str) -> Iterable[str]:
    if begun.startswith(_PATHS):  # left to the shell
        return []
    if ":" in begun:
        name, _, level = begun.rpartition(":")
        full = [text for text in _levels(name) if text.lower().startswith(begun.lower())]
        return [f"{name}:{_in_case_of(level, text[len(name) + 1 :])}" for text in full]
    names = sorted(name for name in {*_stored_names(), *_cached_names(begun)} if name.startswith(begun))
    return [*names, *_levels(names[0])] if len(names) == 1 else names


def _stored_names() -> Iterator[str]:
    from localllm.library.stored import model_directories
    from localllm.store import DEMO, DEMO_PERSONA

    yield from (DEMO, DEMO_PERSONA)
    for directory in model_directories():
        if any(path.name.endswith((*_WEIGHTS, ".json")) for path in directory.iterdir()):
            yield directory.name


def _cached_names(begun: str) -> Iterator[str]:
    from localllm.hub.cache import cached_repos

    for repo in cached_repos():
        if repo.repo.startswith(begun) and _holds_weights(repo):
            yield repo.repo


def _holds_weights(repo: CachedRepo) -> bool:
    snapshots = repo.folder / "snapshots"
    return any(name.endswith(_WEIGHTS) for _, _, names in os.walk(snapshots) for name in names)


def _levels(name: str) -> Iterator[str]:
    """Yield a name with each of the levels that it can be written with."""
    from localllm.errors import LocalLLMError
    from localllm.library.finding import find

    try:
        models = find(name)
    except LocalLLMError:
        return
    named = (model for model in models if model.is_complete and model.name.endswith(f":{model.level}"))
    yield from dict.fromkeys(f"{name}:{model.level}" for model in named)


def _in_case_of(begun: str, name: str) -> str:
    """Return `name` with its beginning as it was typed, and the rest in small letters after small ones."""
    rest = name[len(begun) :]
    return begun + (rest.lower() if begun != begun.upper() and begun == begun.lower() else rest)
