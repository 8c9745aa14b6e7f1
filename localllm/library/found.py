"""A model on this machine before anything of it is read: where its files are and what commands call it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from localllm.gguf_file.split_names import split_name
from localllm.hub.cache import CachedRepo

_NO_MODELS = ("mmproj", "imatrix")  # vision projectors and importance matrices are GGUF files, too


class Kind(StrEnum):
    """What a name stands for."""

    MODEL = "model"
    CHECKPOINT = "checkpoint"
    ADAPTER = "adapter"


@dataclass(frozen=True)
class Found:
    """Files that belong together under one name; `files` begins with the one to name on a command line.

    Of a checkpoint or an adapter `directory` is what to name. `repo` and `commit` tell where in the cache it
    is; without them it is in the library, or shipped.
    """

    name: str
    kind: Kind
    level: str | None
    files: tuple[Path, ...]
    is_complete: bool = True
    directory: Path | None = None
    repo: CachedRepo | None = None
    commit: str | None = None
    is_shipped: bool = False

    @property
    def path(self) -> Path:
        """Return what a command would open."""
        return self.directory or self.files[0]


@dataclass(frozen=True)
class GGUFSet:
    """A GGUF file, or the files of a split one as far as they are there, in order."""

    files: tuple[Path, ...]
    is_complete: bool


def gguf_sets(paths: Iterable[Path]) -> list[GGUFSet]:
    """Put the models among files together, by name; what is no model of its own is left out."""
    whole: list[GGUFSet] = []
    split: dict[tuple[Path, str, int], list[Path]] = defaultdict(list)
    for path in sorted(filter(is_model_name, paths)):
        place = split_name(path)
        if place is None:
            whole.append(GGUFSet((path,), True))
        else:
            split[path.parent, place.stem, place.count].append(path)
    parts = [GGUFSet(tuple(files), len(files) == count) for (_, _, count), files in split.items()]
    return sorted((*whole, *parts), key=lambda found: found.files[0])


def is_model_name(path: Path) -> bool:
    """Tell by its name whether a file holds a model or a part of one."""
    name = path.name.lower()
    return (
        name.endswith(".gguf") and not name.startswith(".") and not any(word in name for word in _NO_MODELS)
    )
