"""Tells whether a file is already what quantizing would write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def is_up_to_date(path: Path, header: bytes, size_bytes: int, inputs: Iterable[Path]) -> bool:
    """Tell whether `path` has this very header and size, and is younger than all it is made from.

    The header names the level, every tensor's type and shape, and where an importance matrix came from. A
    copy of an input keeps the time its contents changed, but not that of its directory entry: both count.
    """
    try:
        status = path.stat()
        if status.st_size != size_bytes:
            return False
        newest = max((_last_change(each) for each in inputs), default=0.0)
        if status.st_mtime <= newest:
            return False
        with path.open("rb") as file:
            return file.read(len(header)) == header
    except OSError:
        return False


def _last_change(path: Path) -> float:
    status = path.stat()
    return max(status.st_mtime, status.st_ctime)
