"""Puts the files of a model into another folder without a second copy where that works, and over nothing.

A hard link first, then a copy that shares its blocks (reflink), then a copy. Files that are there already
with the same content are taken as they are; anything else of the same name is left alone.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from localllm.errors import UsageError
from localllm.publication import publishing, require_space, translated_errors

_FICLONE = 0x40049409  # linux/fs.h
_ELSEWHERE = "choose another place"


class How(StrEnum):
    """How a file got where it is."""

    LINKED = "linked"
    CLONED = "cloned"
    COPIED = "copied"
    THERE = "there already"
    PLANNED = "to be placed"


@dataclass(frozen=True)
class PlacedFile:
    """A file of a model at another place."""

    path: Path
    how: How
    size_bytes: int


def plan(sources: Sequence[Path], folder: Path, ours: Collection[str] = ()) -> list[PlacedFile]:
    """Tell where files would go and whether they are there; how the others come is not known before.

    Raise UsageError when something else has one of their names, but for `ours`, which may be replaced.
    """
    return [_planned(source, folder / source.name, ours) for source in sources]


def place(sources: Sequence[Path], folder: Path, ours: Collection[str] = ()) -> list[PlacedFile]:
    """Put files into a folder, all or none of them; `ours` are names there that may be replaced.

    Raise UsageError for other files there, StorageError.
    """
    planned = plan(sources, folder, ours)
    placed: list[PlacedFile] = []
    try:
        for source, file in zip(sources, planned, strict=True):
            how = How.THERE if file.how is How.THERE else _place(source.resolve(), file.path)
            placed.append(PlacedFile(file.path, how, file.size_bytes))
    except BaseException:
        for each in placed:
            if each.how is not How.THERE:
                with suppress(OSError):
                    each.path.unlink()
        raise
    return placed


def _planned(source: Path, target: Path, ours: Collection[str]) -> PlacedFile:
    with translated_errors(target, _ELSEWHERE):
        size = source.stat().st_size
        if not target.exists() and not target.is_symlink():
            return PlacedFile(target, How.PLANNED, size)
        is_same = target.is_file() and (target.samefile(source) or _have_same_content(source, target, size))
    if is_same:
        return PlacedFile(target, How.THERE, size)
    if target.name in ours and target.is_file():
        return PlacedFile(target, How.PLANNED, size)
    raise UsageError(f"{target} is there already, and it is something else", hint=_ELSEWHERE)


def _have_same_content(source: Path, target: Path, size: int) -> bool:
    return target.stat().st_size == size and filecmp.cmp(source, target, shallow=False)


def _place(source: Path, target: Path) -> How:
    with translated_errors(target, _ELSEWHERE):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() and _link(source, target):
            return How.LINKED
    with publishing(target) as part:
        part.unlink()
        if _link(source, part):
            return How.LINKED
        if _clone(source, part):
            return How.CLONED
        require_space([(target, source.stat().st_size)], _ELSEWHERE)
        shutil.copyfile(source, part)
    return How.COPIED


def _link(source: Path, target: Path) -> bool:
    """Make a hard link where nothing is; tell whether that works: not for other disks and others' files."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _clone(source: Path, target: Path) -> bool:
    """Make a file that shares its blocks with another; tell whether the file system can."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        with source.open("rb") as reading, target.open("wb") as writing:
            fcntl.ioctl(writing.fileno(), _FICLONE, reading.fileno())
    except OSError:
        return False
    return True
