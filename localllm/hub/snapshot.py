"""Puts files of a repository into the cache, in the standard layout, where they are not there yet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from localllm.errors import StorageError
from localllm.events import Emit, Notice, ignore
from localllm.hub.cache import ELSEWHERE, CachedRepo, RepoFile, cached_repo
from localllm.hub.listing import RepoListing
from localllm.publication import free_bytes, translated_errors
from localllm.units import format_bytes

_FEW_BYTES = 1024 * 1024  # for links, lists and the blocks of a part


@dataclass(frozen=True)
class SnapshotFile:
    """A file in the cache; `downloaded_bytes` came now, `resumed_bytes` were here from an earlier try."""

    path: str
    place: Path
    size_bytes: int
    sha256: str | None
    downloaded_bytes: int
    resumed_bytes: int


def missing_files(listing: RepoListing, files: Sequence[RepoFile]) -> list[RepoFile]:
    """Return those of `files` that the cache does not hold for this commit."""
    cached = cached_repo(listing.repo)
    return [file for file in files if not cached.holds(file, listing.commit)]


def fetch(listing: RepoListing, files: Sequence[RepoFile], *, emit: Emit = ignore) -> list[SnapshotFile]:
    """Download those of `files` that are not here, check them, and link them into the snapshot.

    Raise HubError, ChecksumError, StorageError; what has come by then stays for the next time.
    """
    from localllm.hub.digest import digest_for
    from localllm.hub.download import Job, download
    from localllm.hub.remote_file import hub_file

    cached, commit = cached_repo(listing.repo), listing.commit
    missing = missing_files(listing, files)
    to_download = {file.etag: file for file in missing if not _has_blob(cached, file)}
    _require_space(cached, list(to_download.values()))
    _drop_older_parts(cached, list(to_download.values()), emit)
    jobs = [
        Job(
            file=file,
            remote=hub_file(listing.repo, commit, file.path, file.size_bytes),
            target=cached.blob(file.etag),
            part=cached.blob(file.etag),
            lock=cached.lock(file.etag),
            new_digest=partial(digest_for, file),
            expected=file.etag,
        )
        for file in sorted(to_download.values(), key=lambda file: file.size_bytes)
    ]
    took = {fetched.file.etag: fetched for fetched in download(jobs, emit=emit)}
    with translated_errors(cached.folder, ELSEWHERE):
        for file in missing:
            cached.link(file, commit)
    return [
        SnapshotFile(
            file.path,
            cached.place(file, commit),
            file.size_bytes,
            file.sha256,
            took[file.etag].downloaded_bytes if file.etag in took else 0,
            took[file.etag].resumed_bytes if file.etag in took else 0,
        )
        for file in files
    ]


def note(listing: RepoListing) -> None:
    """Write down where the revision is, and which files it has: when all that was wanted of it is here.

    Until then a branch goes on meaning what it did, also when a download is interrupted.
    """
    cached = cached_repo(listing.repo)
    with translated_errors(cached.folder, ELSEWHERE):
        cached.save_tree(listing.commit, listing.files)
        cached.save_revision(listing.revision, listing.commit)


def _has_blob(cached: CachedRepo, file: RepoFile) -> bool:
    with suppress(OSError):
        return cached.blob(file.etag).stat().st_size == file.size_bytes
    return False


def _require_space(cached: CachedRepo, files: Sequence[RepoFile]) -> None:
    """Raise StorageError when the disk cannot hold what is still to come."""
    from localllm.hub.partial import DATA_SUFFIX

    needed = _FEW_BYTES if files else 0
    for file in files:
        part = cached.blob(file.etag).with_name(file.etag + DATA_SUFFIX)
        needed += max(0, file.size_bytes - _allocated(part))
    free = free_bytes(cached.folder)
    if needed > free:
        raise StorageError(
            f"{cached.repo}: {format_bytes(needed)} are to come, but only {format_bytes(free)} are free "
            f"at {cached.folder.parent}",
            hint=f"free some space (`localllm rm`), or {ELSEWHERE}",
        )


def _allocated(path: Path) -> int:
    with suppress(OSError):
        status = path.stat()
        return getattr(status, "st_blocks", 0) * 512 or status.st_size
    return 0


def _drop_older_parts(cached: CachedRepo, files: Sequence[RepoFile], emit: Emit) -> None:
    """Remove parts of files whose content is another one now, and say so; nobody will ask for them again."""
    from localllm.hub.locks import release, taken
    from localllm.hub.partial import DATA_SUFFIX, discard, partials

    wanted = {file.path: file for file in files}
    for data, header in partials(cached.folder / "blobs").items():
        etag = data.name.removesuffix(DATA_SUFFIX)
        if header.path not in wanted or wanted[header.path].etag == etag:
            continue
        lock = taken(cached.lock(etag))
        if lock is not None:
            discard(data)
            release(lock)
            emit(Notice(f"starting {header.path} again: it has changed on the hub since its download began"))
