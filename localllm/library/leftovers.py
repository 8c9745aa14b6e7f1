"""Finds what was left behind by processes that were killed, in the library and the cache, and removes it.

What nobody can go on with goes at once. Unfinished downloads that `pull` would go on with, and whole blobs
that no snapshot points to yet, are kept for a week after they were last written to. What a process that lives
may be working on is never touched: a part names its process, and a download holds a lock.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localllm.events import Emit, Notice, ignore
from localllm.gguf_file.split_names import whole_stem
from localllm.hub.cache import CachedRepo, cache_directory, is_etag
from localllm.hub.locks import release, taken
from localllm.hub.partial import DATA_SUFFIX, STATE_SUFFIX
from localllm.library import provenance, usage
from localllm.library.links import Link, all_links
from localllm.library.removal import owner_of_hidden, remove_tree, size_below, size_of
from localllm.library.stored import model_directories
from localllm.store import models_directory
from localllm.units import format_bytes

KEPT_DAYS = 7
_DAY_SECONDS = 24 * 60 * 60
_KEPT_SECONDS = KEPT_DAYS * _DAY_SECONDS
_OWNED = re.compile(r"\..+\.part-(\d+)|\.convert-(\d+)")  # parts and scratch directories of a process
_LINKING = re.compile(r"\..+\.(\d+)\.link")
_REPO = re.compile(r"models--.+?--.+")
_INCOMPLETE = ".incomplete"
_TEMPORARY = ".tmp"


@dataclass(frozen=True)
class Leftover:
    """Something left behind; `lock` is held by who works on it, and when `is_resumable`, `pull` goes on."""

    path: Path
    what: str
    size_bytes: int
    lock: Path | None = None
    is_resumable: bool = False


@dataclass(frozen=True)
class Leftovers:
    """What would be removed, and what is kept because a download can go on with it."""

    removable: tuple[Leftover, ...]
    kept: tuple[Leftover, ...]

    @property
    def size_bytes(self) -> int:
        return sum(leftover.size_bytes for leftover in self.removable)

    @property
    def kept_bytes(self) -> int:
        return sum(leftover.size_bytes for leftover in self.kept)


@dataclass(frozen=True)
class CleaningResult:
    """What was removed, and the bytes that are free now."""

    removed: tuple[Path, ...]
    freed_bytes: int


def find_leftovers(*, include_resumable: bool = False) -> Leftovers:
    """Find what can go; with `include_resumable` also downloads that could be gone on with."""
    removable: list[Leftover] = []
    kept: list[Leftover] = []
    for leftover in (*_in_library(), *_in_cache()):
        is_kept = (
            leftover.is_resumable and not include_resumable and _age_seconds(leftover.path) < _KEPT_SECONDS
        )
        (kept if is_kept else removable).append(leftover)
    return Leftovers(tuple(removable), tuple(kept))


def clean(leftovers: Leftovers, *, emit: Emit = ignore) -> CleaningResult:
    """Remove what can go, except what somebody has begun to work on since. Raise StorageError."""
    removed: list[Path] = []
    freed = 0
    for leftover in leftovers.removable:
        if _removed(leftover):
            removed.append(leftover.path)
            freed += leftover.size_bytes
        else:
            emit(Notice(f"{leftover.path} is being worked on; it stays"))
    if leftovers.kept:
        emit(
            Notice(
                f"{format_bytes(leftovers.kept_bytes)} of unfinished downloads stay: `localllm pull` goes on "
                "with them",
                hint=f"they go {KEPT_DAYS} days after they were last written to, or with `--stale --all`",
                topic="resumable",
            )
        )
    return CleaningResult(tuple(removed), freed)


def _removed(leftover: Leftover) -> bool:
    """Remove something unless its lock is held; tell whether that was done."""
    if leftover.lock is None or not leftover.lock.is_file():
        remove_tree(leftover.path)
        return True
    lock = taken(leftover.lock)
    if lock is None:
        return False
    try:
        remove_tree(leftover.path)
    finally:
        release(lock)
    return True


# the library --------------------------------------------------------------------------------


def _in_library() -> Iterator[Leftover]:
    root = models_directory()
    for place in (root, *(path for path in model_directories() if not path.is_symlink())):
        names = sorted(place.iterdir()) if place.is_dir() else []
        yield from _of_dead_processes(names)
        yield from _unfinished(names)
        yield from _orphaned_records(names)
    for record in usage.stale_records():
        yield Leftover(record, "note of the last use of a model that is gone", size_of(record))


def _of_dead_processes(paths: Iterable[Path]) -> Iterator[Leftover]:
    for path in paths:
        match = _OWNED.fullmatch(path.name)
        owner = int(match[1] or match[2]) if match else owner_of_hidden(path)
        if owner is not None and not _is_alive(owner):
            what = "part of a file" if match else "models that were being removed"
            yield Leftover(path, what, _size(path))


def _unfinished(paths: Sequence[Path]) -> Iterator[Leftover]:
    """Yield downloads from web addresses that did not end."""
    for path in paths:
        for suffix in (DATA_SUFFIX, STATE_SUFFIX):
            if path.name.startswith(".") and path.name.endswith(suffix):
                lock = path.with_name(path.name.removesuffix(suffix) + ".lock")
                yield from _unless_held(
                    Leftover(path, "unfinished download", size_of(path), lock, is_resumable=True)
                )


def _orphaned_records(paths: Sequence[Path]) -> Iterator[Leftover]:
    models = {whole_stem(path) for path in paths if path.suffix == ".gguf"}
    for path in paths:
        stem = path.name.removeprefix(".").removesuffix(provenance.SUFFIX)
        is_record = path.name.startswith(".") and path.name.endswith(provenance.SUFFIX) and stem
        if is_record and stem not in models:
            yield Leftover(path, "record of a model that is gone", size_of(path))


# the cache ----------------------------------------------------------------------------------


def _in_cache() -> Iterator[Leftover]:
    root = cache_directory()
    folders = sorted(root.iterdir()) if root.is_dir() else []
    yield from _of_dead_processes(folders)
    for folder in folders:
        if _REPO.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            repo = CachedRepo(folder.name.removeprefix("models--").replace("--", "/", 1), folder)
            yield from _of_repo(repo)


def _of_repo(repo: CachedRepo) -> Iterator[Leftover]:
    links = all_links(repo)
    for link in links:
        owner = _LINKING.fullmatch(link.path.name)
        if owner:
            if not _is_alive(int(owner[1])):
                yield Leftover(link.path, "link that was being made", size_of(link.path))
        elif link.is_broken:
            lock = repo.lock(link.file.etag) if link.file.etag else None
            yield from _unless_held(Leftover(link.path, "link to nothing", 0, lock))
    for name in ("refs", "trees"):
        for path in sorted((repo.folder / name).glob(f"*{_TEMPORARY}")):
            if _age_seconds(path) > _DAY_SECONDS:
                yield Leftover(path, "part of a file", size_of(path))
    yield from _of_blobs(repo, links)


def _of_blobs(repo: CachedRepo, links: Sequence[Link]) -> Iterator[Leftover]:
    """Yield files among the blobs that no snapshot needs; none while somebody downloads of the repository."""
    has_copies = any(link.blob is None and not link.is_broken for link in links)
    linked = {link.blob for link in links}
    blobs = _files_in(repo.folder / "blobs")
    found = [_of_blob(repo, blob, is_linked=blob in linked or has_copies) for blob in blobs]
    leftovers = [leftover for leftover in found if leftover is not None]
    if leftovers and not any(map(_is_held, _files_in(repo.lock("").parent))):
        yield from leftovers


def _of_blob(repo: CachedRepo, blob: Path, *, is_linked: bool) -> Leftover | None:
    """Return a file among the blobs when it is no blob that a snapshot needs."""
    lock = repo.lock(blob.name.partition(".")[0])
    for suffix in (DATA_SUFFIX, STATE_SUFFIX):
        if blob.name.endswith(suffix):
            return Leftover(blob, "unfinished download", size_of(blob), lock, is_resumable=True)
    if blob.name.endswith(_INCOMPLETE):
        is_safe = lock.is_file() or _age_seconds(blob) > _DAY_SECONDS
        return Leftover(blob, "part of a file", size_of(blob), lock) if is_safe else None
    if is_etag(blob.name) and not is_linked and not blob.is_symlink():
        return Leftover(blob, "file that no snapshot has", size_of(blob), lock, is_resumable=True)
    return None


def _unless_held(leftover: Leftover) -> Iterator[Leftover]:
    if leftover.lock is None or not leftover.lock.is_file() or not _is_held(leftover.lock):
        yield leftover


def _is_held(lock: Path) -> bool:
    """Tell whether another process holds a lock, or whether nobody can tell."""
    with suppress(OSError):
        held = taken(lock)
        if held is not None:
            release(held)
            return False
    return True


def _size(path: Path) -> int:
    return size_below(path) if path.is_dir() and not path.is_symlink() else size_of(path)


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_symlink() or path.is_file())
    except OSError:
        return []


def _is_alive(process: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(process))


def _age_seconds(path: Path) -> float:
    """Return how long ago a file was last written to; a state counts as old as the bytes it is about."""
    times = []
    for each in (path, path.with_name(path.name.removesuffix(STATE_SUFFIX) + DATA_SUFFIX)):
        with suppress(OSError):
            times.append(each.lstat().st_mtime)
    return time.time() - max(times, default=0.0)
