"""Tells whether a file is already what quantizing would write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_INPUTS = (".safetensors", ".json", ".jinja", ".model", ".txt", ".md")


def is_up_to_date(path: Path, header: bytes, size_bytes: int, inputs: Iterable[Path]) -> bool:
    """Tell whether `path` has this very header and size, and is younger than all it is made from.

    The header names the level, every tensor's type and shape, and where an importance matrix came from.
    """
    try:
        if path.stat().st_size != size_bytes or not is_younger(path, inputs):
            return False
        with path.open("rb") as file:
            return file.read(len(header)) == header
    except OSError:
        return False


def is_younger(path: Path, inputs: Iterable[Path]) -> bool:
    """Tell whether `path` was written after the last change to any of `inputs`.

    A copy of an input keeps the time its contents changed, but not that of its directory entry: both count.
    """
    return path.stat().st_mtime > max(map(_last_change, inputs), default=0.0)


def input_files(directories: Iterable[Path]) -> tuple[Path, ...]:
    """Return the files of checkpoint and adapter directories that a model is made of."""
    return tuple(
        path
        for directory in directories
        for path in sorted(directory.iterdir())
        if path.suffix in _INPUTS and path.is_file()
    )


def _last_change(path: Path) -> float:
    status = path.stat()
    return max(status.st_mtime, status.st_ctime)
