"""Reads models again and compares them with what they should be.

What was pulled must have the hash that its blob is named by; where there are no links, that of the commit's
list of files. A file of the library must have a valid header and its data to the end, and the checksum on
its record; when there is none it is written down, to be compared the next time.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

from localllm.errors import LocalLLMError
from localllm.events import Advanced, Emit, Finished, Notice, Started, ignore
from localllm.gguf_file import read_header
from localllm.hub.cache import CachedRepo, RepoFile
from localllm.hub.digest import Digest, digest_for
from localllm.library import provenance
from localllm.library.facts import reason
from localllm.library.found import Found, Kind
from localllm.library.links import Link, all_links
from localllm.library.provenance import FileRecord, Provenance
from localllm.machine import usable_cores

_STEP = "verify"
_READ_BYTES = 4 * 1024 * 1024
_LOOK_SECONDS = 0.1
_INCOMPLETE = "files of it are missing"


class Status(StrEnum):
    """What became of a check; `unknown` when there is nothing to compare a file with."""

    OK = "ok"
    CHANGED = "changed"
    DAMAGED = "damaged"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class FileCheck:
    """A file that was checked. `model` is what to type for it, `detail` one line about what is wrong.

    `is_recorded` tells that its checksum was written down for the first time, so there was none to compare.
    """

    model: str
    path: Path
    status: Status
    size_bytes: int
    sha256: str | None = None
    detail: str = ""
    is_pulled: bool = False
    is_recorded: bool = False

    @property
    def is_wrong(self) -> bool:
        return self.status in (Status.CHANGED, Status.DAMAGED)


@dataclass(frozen=True)
class VerificationResult:
    """All checks, in the order of the models."""

    files: tuple[FileCheck, ...]

    @property
    def wrong(self) -> tuple[FileCheck, ...]:
        return tuple(file for file in self.files if file.is_wrong)


@dataclass(frozen=True)
class _Reading:
    """A file to read whole; `judge` makes the check out of its hash."""

    path: Path
    size_bytes: int
    new_digest: Callable[[], Digest]
    judge: Callable[[str], FileCheck]


_Step = FileCheck | _Reading


@dataclass
class _Progress:
    """How much the threads have read; they stop when `stop` is set."""

    done_bytes: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, size: int) -> None:
        with self._lock:
            self.done_bytes += size


def verify(
    models: Iterable[Found], repos: Iterable[CachedRepo] = (), *, emit: Emit = ignore
) -> VerificationResult:
    """Check every file of `models`, and everything of `repos` in the cache; the same contents once."""
    models = list(models)
    steps: list[_Step] = []
    for found in models:
        steps += _stored(found) if found.repo is None else _pulled(found)
    for repo in repos:
        steps += _all_of(repo)
    steps = list(_distinct(steps))
    hashed = _read([step for step in steps if isinstance(step, _Reading)], emit)
    checks = [hashed[step.path] if isinstance(step, _Reading) else step for step in steps]
    for found in models:
        if found.repo is None:
            _write_down(found, checks, emit)
    return VerificationResult(tuple(checks))


def _distinct(steps: Iterable[_Step]) -> Iterator[_Step]:
    seen: set[str] = set()
    for step in steps:
        place = os.path.realpath(step.path)
        if isinstance(step, FileCheck) and step.detail == _INCOMPLETE:
            yield step
        elif place not in seen:
            seen.add(place)
            yield step


# pulled -------------------------------------------------------------------------------------


def _pulled(found: Found) -> list[_Step]:
    """Return how to check the files of a model in the cache."""
    assert found.repo is not None
    links = {link.path: link for link in all_links(found.repo)}
    trees = _Trees(found.repo)
    steps = [_pulled_file(links[path], found.name, trees) for path in found.files if path in links]
    if not found.is_complete:
        steps.append(_incomplete(found, is_pulled=True))
    return steps


def _all_of(repo: CachedRepo) -> list[_Step]:
    """Return how to check all files of a repository, also links to nothing."""
    from localllm.library.cached import cached_models

    names = {path: found.name for found in cached_models(repo) for path in found.files}
    trees = _Trees(repo)
    return [_pulled_file(link, names.get(link.path, repo.repo), trees) for link in all_links(repo)]


class _Trees:
    """What the hub said of the files of each commit, read once."""

    def __init__(self, repo: CachedRepo) -> None:
        self._repo = repo
        self._files: dict[str, dict[str, RepoFile]] = {}

    def file(self, link: Link) -> RepoFile | None:
        if link.commit not in self._files:
            self._files[link.commit] = {file.path: file for file in self._repo.tree(link.commit) or ()}
        return self._files[link.commit].get(link.file.path)


def _pulled_file(link: Link, model: str, trees: _Trees) -> _Step:
    check = partial(FileCheck, model, link.path, is_pulled=True)
    if link.is_broken:
        return check(Status.DAMAGED, 0, detail="what it points to is gone")
    size = link.file.size_bytes if link.blob is not None else link.path.stat().st_size
    known = trees.file(link)
    if known is not None and known.size_bytes != size:
        return check(Status.DAMAGED, size, detail=f"{size} bytes instead of {known.size_bytes}")
    etag = link.file.etag
    if not etag:
        return check(Status.UNKNOWN, size, detail="nobody knows its checksum")
    expected = RepoFile(link.file.path, size, etag, link.file.sha256)
    return _Reading(link.path, size, partial(digest_for, expected), partial(_judge_pulled, check, expected))


def _judge_pulled(check: Callable[..., FileCheck], expected: RepoFile, found: str) -> FileCheck:
    sha256 = found if expected.sha256 else None
    if found == expected.etag:
        return check(Status.OK, expected.size_bytes, sha256)
    return check(Status.DAMAGED, expected.size_bytes, sha256, "its checksum differs from the hub's")


# the library --------------------------------------------------------------------------------


def _stored(found: Found) -> list[_Step]:
    """Return how to check the files of a model in the library."""
    known = provenance.read(found.path)
    if found.kind is not Kind.MODEL:
        return [step for path in found.files for step in _checkpoint_file(found, path, known)]
    steps = [_gguf_file(found, path, known) for path in found.files]
    return steps if found.is_complete else [*steps, _incomplete(found)]


def _gguf_file(found: Found, path: Path, known: Provenance | None) -> _Step:
    try:
        read_header(path)
    except LocalLLMError as error:
        return FileCheck(found.name, path, Status.DAMAGED, path.stat().st_size, detail=reason(error, path))
    return _against_record(found, path, known)


def _checkpoint_file(found: Found, path: Path, known: Provenance | None) -> Iterator[_Step]:
    """Yield how to check a file of a checkpoint: its checksum where a record lists it, else its structure."""
    from localllm.checkpoint import read_json, read_safetensors

    size = path.stat().st_size
    readers: dict[str, Callable[[Path], object]] = {
        ".safetensors": lambda path: list(read_safetensors(path)),
        ".json": read_json,
    }
    try:
        if path.suffix in readers:
            readers[path.suffix](path)
    except LocalLLMError as error:
        yield FileCheck(found.name, path, Status.DAMAGED, size, detail=reason(error, path))
        return
    if known is not None and any(file.name == path.name for file in known.files):
        yield _against_record(found, path, known)
    elif path.suffix in readers:
        yield FileCheck(found.name, path, Status.OK, size)


def _against_record(found: Found, path: Path, known: Provenance | None) -> _Step:
    size = path.stat().st_size
    record = next((file for file in known.files if file.name == path.name), None) if known else None
    if record is not None and record.size_bytes != size:
        detail = f"{size} bytes instead of {record.size_bytes} when it was made"
        return FileCheck(found.name, path, Status.CHANGED, size, detail=detail)
    if record is None and not provenance.keeps_records(found.path):
        return FileCheck(found.name, path, Status.OK, size)
    judge = partial(_judge_stored, found.name, path, size, record.sha256 if record else None)
    return _Reading(path, size, hashlib.sha256, judge)


def _judge_stored(name: str, path: Path, size: int, known: str | None, found: str) -> FileCheck:
    if known is None:
        return FileCheck(name, path, Status.OK, size, found, is_recorded=True)
    if known == found:
        return FileCheck(name, path, Status.OK, size, found)
    return FileCheck(name, path, Status.CHANGED, size, found, "its checksum is not the one on record")


def _incomplete(found: Found, *, is_pulled: bool = False) -> FileCheck:
    return FileCheck(found.name, found.path, Status.DAMAGED, 0, detail=_INCOMPLETE, is_pulled=is_pulled)


def _write_down(found: Found, checks: Sequence[FileCheck], emit: Emit) -> None:
    """Put new checksums of a model on its record, when all of its files are well."""
    own = [check for check in checks if check.path in found.files]
    if not any(check.is_recorded for check in own) or any(check.is_wrong for check in own):
        return
    hashed = [check for check in own if check.sha256 is not None]
    files = [FileRecord(check.path.name, check.size_bytes, check.sha256) for check in hashed]
    try:
        provenance.add_checksums(found.path, files)
    except LocalLLMError as error:
        emit(Notice(f"the checksum of {found.name} could not be written down: {error.message}"))


# reading ------------------------------------------------------------------------------------


def _read(readings: Sequence[_Reading], emit: Emit) -> dict[Path, FileCheck]:
    """Hash files on all usable cores, the largest first."""
    if not readings:
        return {}
    progress = _Progress()
    emit(Started(_STEP, sum(reading.size_bytes for reading in readings), "bytes"))
    ordered = sorted(readings, key=lambda reading: -reading.size_bytes)
    with ThreadPoolExecutor(min(usable_cores(), len(ordered)), thread_name_prefix=_STEP) as pool:
        try:
            futures = {pool.submit(_hash, reading, progress): reading for reading in ordered}
            pending = set(futures)
            while pending:
                _, pending = wait(pending, timeout=_LOOK_SECONDS)
                emit(Advanced(_STEP, progress.done_bytes))
        except BaseException:
            progress.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    emit(Finished(_STEP))
    return {reading.path: future.result() for future, reading in futures.items()}


def _hash(reading: _Reading, progress: _Progress) -> FileCheck:
    digest, buffer = reading.new_digest(), bytearray(_READ_BYTES)
    view = memoryview(buffer)
    try:
        with reading.path.open("rb", buffering=0) as file:
            while (count := file.readinto(buffer)) and not progress.stop.is_set():
                digest.update(view[:count])  # type: ignore[arg-type]
                progress.add(count)
    except OSError as error:
        check = reading.judge("")
        detail = f"it cannot be read: {error.strerror or error}"
        return FileCheck(
            check.model, check.path, Status.DAMAGED, reading.size_bytes, None, detail, check.is_pulled
        )
    return reading.judge(digest.hexdigest())
