"""The models of the library, and what ships with localllm, each under the name that commands accept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from localllm.errors import UsageError
from localllm.library import weights
from localllm.library.found import Found, GGUFSet, Kind, gguf_sets
from localllm.refs import ModelRef, RefKind
from localllm.store import DEMO, DEMO_PERSONA, level_in_name, models_directory, shipped_checkpoint

_SHIPPED = (DEMO, DEMO_PERSONA)


def all_stored() -> Iterator[Found]:
    """Yield everything in the library by name, also models of which files are missing, and what ships."""
    for name in sorted({*_SHIPPED, *(directory.name for directory in model_directories())}):
        yield from models_called(name)


def models_called(name: str) -> Iterator[Found]:
    """Yield what a name stands for: files in the library, then a checkpoint there, or the one that ships."""
    directory = models_directory() / name
    if directory.is_dir():
        yield from stored_models(directory)
    shipped = shipped_checkpoint(name) if name in _SHIPPED else None
    if shipped is not None and not (directory.is_dir() and holds_checkpoint(directory)):
        yield _directory(name, shipped)


def model_directories() -> list[Path]:
    """Return the directories of the library that may hold a model."""
    root = models_directory()
    entries = sorted(root.iterdir()) if root.is_dir() else []
    return [path for path in entries if path.is_dir() and not path.name.startswith(".")]


def stored_models(directory: Path) -> Iterator[Found]:
    """Yield the models in a directory of the library, smallest file first, and then its checkpoint."""
    sets = gguf_sets(path for path in directory.glob("*.gguf") if path.is_file())
    sets.sort(key=lambda found: (_size(found), found.files[0].name))
    by_level = {_level(found): found for found in sets}  # as a reference is resolved: the last one counts
    for found in sets:
        level = _level(found)
        name = _name(directory.name, level) if by_level[level] is found else None
        if level is None and len(sets) > 1:
            name = None
        yield Found(name or str(found.files[0]), Kind.MODEL, level, found.files, found.is_complete)
    if holds_checkpoint(directory):
        yield _directory(directory.name, directory)


def holds_checkpoint(directory: Path) -> bool:
    """Tell whether a directory holds a checkpoint or an adapter."""
    return any((directory / name).is_file() for name in (weights.CONFIG, weights.ADAPTER_CONFIG))


def _directory(name: str, directory: Path) -> Found:
    """Return a checkpoint or an adapter."""
    files = [path for path in sorted(directory.iterdir()) if path.is_file() and _is_part(path)]
    names = {path.name for path in files}
    shipped = shipped_checkpoint(name)
    return Found(
        _name(name, None) or str(directory),
        Kind.ADAPTER if weights.is_adapter(names) else Kind.CHECKPOINT,
        None,
        tuple(files),
        weights.has_all_weights(directory, names),
        directory=directory,
        is_shipped=shipped is not None and shipped.samefile(directory),
    )


def _is_part(path: Path) -> bool:
    return path.suffix != ".gguf" and not path.name.startswith(".")


def _level(found: GGUFSet) -> str | None:
    return level_in_name(found.files[0])


def _size(found: GGUFSet) -> int:
    return sum(path.stat().st_size for path in found.files)


def _name(name: str, level: str | None) -> str | None:
    """Return the reference to a model of the library; None when a name cannot be written as one."""
    text = f"{name}:{level}" if level else name
    try:
        return text if ModelRef.parse(text) == ModelRef(RefKind.LIBRARY, name, level) else None
    except UsageError:
        return None
