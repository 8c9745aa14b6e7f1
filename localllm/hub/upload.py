"""Sends files to a repository of the hub: each to its storage first, then all of them in one commit.

What the repository has already is not sent, nor what its storage has from an interrupted upload: the hub
tells by the hash. Nobody sees half of an upload, the commit comes last. The transfer itself is
huggingface_hub's, through Xet where that works.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from huggingface_hub import CommitOperationAdd, HfApi, get_token

from localllm.errors import HubError
from localllm.events import Advanced, Emit, Finished, Started, ignore
from localllm.hub.cache import MAIN
from localllm.hub.digest import digest_for
from localllm.hub.failures import SIGN_IN, MissingRepoError, MissingRevisionError
from localllm.hub.http import PassingError, endpoint, opened
from localllm.hub.listing import RepoListing, ask_for_listing
from localllm.hub.upload_failures import translated
from localllm.publication import translated_errors

_CHUNK_BYTES = 1024 * 1024
_LONGEST_TEXT_BYTES = 16 * 1024 * 1024
_REPORTER = "XetUploadProgressReporter"


@dataclass(frozen=True)
class LocalFile:
    """A file to send: where it is here, and what it is called there."""

    path: Path
    name: str
    size_bytes: int


@dataclass(frozen=True)
class Destination:
    """A branch of a repository; `listing` is what it has, None where repository or branch are missing."""

    repo: str
    revision: str
    has_repo: bool
    listing: RepoListing | None


@dataclass(frozen=True)
class Uploaded:
    """The commit that an upload made."""

    commit: str
    url: str


def destination(repo: str, revision: str | None) -> Destination:
    """Ask the hub what is there. Raise HubError, OfflineError, GatedModelError."""
    branch = revision or MAIN
    try:
        return Destination(repo, branch, True, ask_for_listing(repo, branch))
    except MissingRepoError:
        return Destination(repo, branch, False, None)
    except MissingRevisionError:
        return Destination(repo, branch, True, None)


def address(repo: str) -> str:
    """Return where a repository's page is."""
    return f"{endpoint()}/{repo}"


def require_token() -> None:
    """Raise HubError where nobody is signed in."""
    if get_token() is None:
        raise HubError("sending files to the hub needs a token that may write", hint=SIGN_IN)


def is_there(file: LocalFile, target: Destination, *, emit: Emit = ignore) -> bool:
    """Tell whether a repository has a file under its name with this content; only then is it read.

    Raise StorageError.
    """
    listed = target.listing.file(file.name) if target.listing else None
    if listed is None or listed.size_bytes != file.size_bytes:
        return False
    digest = digest_for(listed)
    for chunk in _read(file, f"compare {file.name}", emit):
        digest.update(chunk)
    return digest.hexdigest() == listed.etag


def read_text(target: Destination, name: str) -> str | None:
    """Return a small text file of a repository; None where there is none, or nothing that is one.

    Raise HubError, OfflineError.
    """
    listed = target.listing.file(name) if target.listing else None
    if target.listing is None or listed is None or listed.size_bytes > _LONGEST_TEXT_BYTES:
        return None
    try:
        with opened(f"{endpoint()}/{target.repo}/resolve/{target.listing.commit}/{quote(name)}") as response:
            return response.read().decode("utf-8")
    except PassingError as failure:
        raise failure.error from None
    except UnicodeDecodeError:
        return None


def upload(
    files: Sequence[LocalFile], target: Destination, *, private: bool, message: str, emit: Emit = ignore
) -> Uploaded:
    """Send files and commit them; the repository and the branch are made where they are missing.

    Raise HubError, OfflineError, GatedModelError, StorageError; the next time goes on where this one ended.
    """
    require_token()
    api = HfApi(endpoint=endpoint(), library_name="localllm")
    with translated(target.repo):
        if not target.has_repo:
            api.create_repo(target.repo, private=private or None, exist_ok=True)
        if target.listing is None and target.revision != MAIN:
            api.create_branch(target.repo, branch=target.revision, exist_ok=True)
        operations = [_Counted(file, emit) for file in files]
        for operation in operations:
            with operation.told():
                api.preupload_lfs_files(
                    target.repo, [operation], revision=target.revision, free_memory=False, num_threads=1
                )
        commit = api.create_commit(target.repo, operations, commit_message=message, revision=target.revision)
    return Uploaded(commit.oid, address(target.repo))


class _Counted(CommitOperationAdd):
    """A file to commit that tells how much of it was read for sending."""

    def __init__(self, file: LocalFile, emit: Emit) -> None:
        super().__init__(path_in_repo=file.name, path_or_fileobj=str(file.path))
        self._step = f"upload {file.name}"
        self._file = file
        self._emit = emit

    @contextmanager
    def told(self) -> Iterator[None]:
        """Report the progress of a transfer as long as it takes."""
        if not self.upload_info.is_hashed:
            digest = hashlib.sha256()
            for chunk in _read(self._file, f"hash {self._file.name}", self._emit):
                digest.update(chunk)
            self.upload_info.sha256 = digest.digest()
        self._emit(Started(self._step, self._file.size_bytes, "bytes"))
        with _xet_reports_to(self._advance):
            yield
        self._emit(Finished(self._step))

    @contextmanager
    def as_file(self, with_tqdm: bool = False) -> Iterator[BinaryIO]:
        """Yield the open file; huggingface_hub asks for a bar when it is about to send."""
        if not with_tqdm:
            with super().as_file() as plain:
                yield plain
            return
        with self._file.path.open("rb", buffering=0) as raw:
            yield _CountedFile(raw, self._advance)

    def _advance(self, done_bytes: int) -> None:
        self._emit(Advanced(self._step, min(done_bytes, self._file.size_bytes)))


class _CountedFile(io.BufferedReader):
    """A file that tells its position after every read."""

    def __init__(self, raw: io.FileIO, advance: Callable[[int], None]) -> None:
        super().__init__(raw)
        self._advance = advance

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._advance(self.tell())
        return data


def _read(file: LocalFile, step: str, emit: Emit) -> Iterator[bytes]:
    """Yield the content of a file and tell how far it is."""
    emit(Started(step, file.size_bytes, "bytes"))
    done = 0
    with translated_errors(file.path), file.path.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            done += len(chunk)
            emit(Advanced(step, done))
            yield chunk
    emit(Finished(step))


@contextmanager
def _xet_reports_to(advance: Callable[[int], None]) -> Iterator[None]:
    """Have transfers through Xet tell us how far they are, in place of drawing bars of their own.

    huggingface_hub offers no way to listen; where it changes inside, only the progress is missing.
    """
    from huggingface_hub.utils import _xet_progress_reporting as reporting

    class Reporter:
        def update_progress(self, group: Any, _items: Any = None) -> None:
            advance(int(getattr(group, "total_bytes_completed", 0)))

        def close(self) -> None:
            return

    drawing = getattr(reporting, _REPORTER, None)
    if drawing is None:
        yield
        return
    setattr(reporting, _REPORTER, Reporter)
    try:
        yield
    finally:
        setattr(reporting, _REPORTER, drawing)
