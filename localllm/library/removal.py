"""Removes what a plan names, of the library and the cache.

Nothing else is touched, and links are removed, never followed. The order is such that a removal which is cut
off leaves no name for something that is not whole: links go before the blobs they point to, and a folder is
renamed away before it is emptied. `leftovers` finds what remains then.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock

from localllm.errors import StorageError
from localllm.events import Emit, Notice, ignore
from localllm.hub.locks import release, taken
from localllm.hub.shared_blobs import remove_shared, store_target
from localllm.library import usage

_REMOVED = ".removed-"  # then the number of the process


@dataclass(frozen=True)
class Removal:
    """What goes under one name. `size_bytes` is what that frees, `note` what else there is to know.

    In this order: `links` (also plain files), `blobs`, `folders` with all that is in them, then those of
    `if_empty` that are. `used` are models that must not be in use, `locks` those that downloads of the
    same files would hold, `shared` contents of the cache's common store that nothing points to afterwards.
    """

    name: str
    size_bytes: int
    links: tuple[Path, ...] = ()
    blobs: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    if_empty: tuple[Path, ...] = ()
    used: tuple[Path, ...] = ()
    locks: tuple[Path, ...] = ()
    lock_folder: Path | None = None
    shared: tuple[Path, ...] = ()
    note: str | None = None


@dataclass(frozen=True)
class RemovalPlan:
    """What would be removed, and what that frees."""

    removals: tuple[Removal, ...]

    @property
    def size_bytes(self) -> int:
        return sum(removal.size_bytes for removal in self.removals)


@dataclass(frozen=True)
class RemovalResult:
    """What was removed: names, and the bytes that are free now."""

    removed: tuple[str, ...]
    freed_bytes: int


def remove(plan: RemovalPlan, *, emit: Emit = ignore) -> RemovalResult:
    """Remove what is planned.

    Raise StorageError when another process downloads or uses something of it, then before anything of that
    name is removed, or when the file system refuses.
    """
    removed: list[str] = []
    freed = 0
    for removal in plan.removals:
        with _alone(removal):
            _remove(removal)
        if removal.lock_folder is not None:  # behind the locks: Windows keeps files that are open
            shutil.rmtree(removal.lock_folder, ignore_errors=True)
        freed += removal.size_bytes - _kept_bytes(removal, emit)
        removed.append(removal.name)
    return RemovalResult(tuple(removed), freed)


def require_unused(plan: RemovalPlan) -> None:
    """Raise StorageError when another process downloads or uses something that would be removed."""
    for removal in plan.removals:
        with _alone(removal):
            pass


def size_of(path: Path) -> int:
    """Return the bytes that removing one file or link frees; of a file that has holes what it takes up."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    if path.is_symlink():
        return 0
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else min(status.st_size, blocks * 512)


def size_below(folder: Path) -> int:
    """Return the bytes of all files below a folder; links are not followed."""
    if folder.is_symlink():
        return 0
    return sum(size_of(Path(directory, name)) for directory, _, names in os.walk(folder) for name in names)


def hidden_name(folder: Path) -> Path:
    """Return what a folder is called while it is removed."""
    return folder.with_name(f".{folder.name.lstrip('.')}{_REMOVED}{os.getpid()}")


def owner_of_hidden(path: Path) -> int | None:
    """Return the process that renamed a folder away to remove it; None for any other file or folder."""
    name, _, owner = path.name.rpartition(_REMOVED)
    return int(owner) if name.startswith(".") and owner.isdigit() else None


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn an OSError while removing `path` into a StorageError."""
    try:
        yield
    except PermissionError as error:
        raise StorageError(
            f"cannot remove {error.filename or path}: {error.strerror}",
            hint="another program may have it open, or it belongs to another user",
        ) from error
    except OSError as error:
        raise StorageError(f"cannot remove {error.filename or path}: {error.strerror or error}") from error


def remove_tree(folder: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it."""
    with translated(folder):
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink(missing_ok=True)
        else:
            shutil.rmtree(folder)


@contextmanager
def _alone(removal: Removal) -> Iterator[None]:
    """Hold the locks of what is removed. Raise StorageError when somebody else does, or uses it."""
    for path in removal.used:
        if usage.is_in_use(path):
            raise StorageError(
                f"{removal.name} is in use by another localllm", hint="end that one first, then try again"
            )
    with ExitStack() as stack:
        for path in removal.locks:
            if path.is_file():
                stack.callback(release, _taken(path, removal.name))
        yield


def _taken(path: Path, name: str) -> BaseFileLock:
    with translated(path):
        lock = taken(path)
    if lock is None:
        raise StorageError(
            f"{name} is being downloaded by another process",
            hint=f"wait for it to end; if there is none, remove {path}",
        )
    return lock


def _remove(removal: Removal) -> None:
    for path in removal.used:
        usage.forget(path)
    for path in removal.links:
        with translated(path):
            path.unlink(missing_ok=True)
    for cache in {blob.parent.parent.parent for blob in removal.blobs}:
        linked = [blob for blob in removal.blobs if store_target(blob, cache)]
        if linked:
            remove_shared(linked, cache)
    for path in removal.blobs:
        with translated(path):
            path.unlink(missing_ok=True)
    for folder in removal.folders:
        _remove_folder(folder)
    for folder in removal.if_empty:
        with suppress(OSError):
            folder.rmdir()


def _remove_folder(folder: Path) -> None:
    """Rename a folder away, so that it is gone at once, then remove what is in it."""
    if folder.is_symlink() or not folder.is_dir():
        remove_tree(folder)
        return
    hidden = hidden_name(folder)
    with translated(folder):
        folder.rename(hidden)
    remove_tree(hidden)


def _kept_bytes(removal: Removal, emit: Emit) -> int:
    """Return what huggingface_hub left in the common store although nothing here points to it."""
    kept = [path for path in removal.shared if path.exists()]
    if kept:
        emit(
            Notice(
                f"{removal.name}: {len(kept)} of its files stay in the common store of the cache",
                hint="`hf cache prune` looks after that",
                topic="shared-blobs",
            )
        )
    return sum(size_of(path) for path in kept)
