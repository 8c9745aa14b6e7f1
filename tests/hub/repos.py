"""What the stand-in serves: files, commits, branches and tags. It knows nothing of HTTP."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

PIECE_BYTES = 1 << 16
_HASHING_BYTES = 1 << 20
_EMPTY: Mapping[str, Any] = MappingProxyType({})


class Blob:
    """The bytes of one file, in memory or on disk; a file on disk is never loaded whole.

    The sha256 is computed once, when it is first needed; for a huge file it can be given instead.
    """

    def __init__(self, source: bytes | Path, *, sha256: str | None = None) -> None:
        self._source = source
        self._given_sha256 = sha256
        self._hashing = threading.Lock()
        self.size = len(source) if isinstance(source, bytes) else source.stat().st_size

    @property
    def sha256(self) -> str:
        with self._hashing:  # two requests at once shall not both read a big file
            if self._given_sha256 is None:
                self._given_sha256 = self._digest("sha256")
            return self._given_sha256

    @cached_property
    def git_oid(self) -> str:
        """What git calls the content itself."""
        return self._digest("sha1", b"blob %d\0" % self.size)

    @cached_property
    def storage_tag(self) -> str:
        """How the CDN's storage names the bytes: in its own way, not by the sha256 that the hub states."""
        if isinstance(self._source, bytes):
            return hashlib.md5(self._source).hexdigest()
        return hashlib.md5(f"{self._source}:{self._source.stat().st_mtime_ns}".encode()).hexdigest() + "-2"

    @cached_property
    def pointer(self) -> bytes:
        """What git stores in place of a large file."""
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n"
        ).encode()

    def pieces(self, start: int = 0, stop: int | None = None, *, piece: int = PIECE_BYTES) -> Iterator[bytes]:
        """Yield the bytes from start up to stop, never more than `piece` at once."""
        stop = self.size if stop is None else stop
        if isinstance(self._source, bytes):
            for position in range(start, stop, piece):
                yield self._source[position : min(position + piece, stop)]
            return
        with self._source.open("rb") as file:
            file.seek(start)
            while start < stop and (chunk := file.read(min(piece, stop - start))):
                start += len(chunk)
                yield chunk

    def _digest(self, algorithm: str, prefix: bytes = b"") -> str:
        digest = hashlib.new(algorithm, prefix)
        for chunk in self.pieces(piece=_HASHING_BYTES):
            digest.update(chunk)
        return digest.hexdigest()


Content = bytes | str | Path | Blob


def to_blob(content: Content) -> Blob:
    """Wrap bytes, text or a path."""
    if isinstance(content, Blob):
        return content
    return Blob(content.encode() if isinstance(content, str) else content)


@dataclass(frozen=True)
class Entry:
    """A file as the listing states it, which need not be the truth."""

    path: str
    blob: Blob
    is_lfs: bool
    size: int
    sha256: str | None = None  # None: the true one

    @property
    def etag(self) -> str:
        """What names the file in a cache: sha256 for large files, git's name for small ones."""
        return self.lfs_sha256 if self.is_lfs else self.blob.git_oid

    @property
    def lfs_sha256(self) -> str:
        return self.sha256 or self.blob.sha256

    @property
    def git_oid(self) -> str:
        if not self.is_lfs:
            return self.blob.git_oid
        pointer = self.blob.pointer
        return hashlib.sha1(b"blob %d\0%s" % (len(pointer), pointer)).hexdigest()


@dataclass(frozen=True)
class ExtraEntry:
    """An entry that a hostile repository lists: any path, any size, any sha256.

    With the path of a real file it replaces that file's entry, whose content is served all the same.
    """

    path: str
    size: int | None = None  # None: the true one
    sha256: str | None = None
    is_lfs: bool | None = None  # None: as the name and the size have it
    content: bytes = b"hostile\n"


@dataclass(frozen=True)
class Commit:
    id: str
    title: str
    files: Mapping[str, Blob]


class Repo:
    """A model repository: commits on branches. Old commits stay resolvable."""

    def __init__(
        self,
        name: str,
        files: Mapping[str, Content],
        *,
        private: bool = False,
        gated: bool | str = False,
        disabled: bool = False,
        tokens: Sequence[str] | set[str] = (),
        branches: Mapping[str, Mapping[str, Content]] = _EMPTY,
        extra_entries: Sequence[str | ExtraEntry] = (),
        former_names: Sequence[str] = (),
        info: Mapping[str, Any] = _EMPTY,
        lfs_above_bytes: int = 10_000_000,
        lfs_suffixes: tuple[str, ...] = (".gguf", ".safetensors"),
    ) -> None:
        """
        Args:
            gated: True means "auto"; or "auto", "manual".
            tokens: who may read it, when it is private or gated.
            branches: what each further branch changes in main.
            extra_entries: listed besides the files, in every commit.
            former_names: answered with a redirect, like a renamed repository.
            info: further keys of the model info (`tags`, `gguf`, `safetensors`, `cardData`, …).
        """
        self.name = name
        self.private = private
        self.gated = "auto" if gated is True else gated
        self.disabled = disabled
        self.tokens = frozenset(tokens)
        self.former_names = tuple(former_names)
        self.info = dict(info)
        self._extra_entries = [
            ExtraEntry(extra) if isinstance(extra, str) else extra for extra in extra_entries
        ]
        self._lfs_above_bytes = lfs_above_bytes
        self._lfs_suffixes = lfs_suffixes
        self._lock = threading.Lock()
        self._commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.commit(files, title="initial commit")
        for branch, changes in branches.items():
            self.branch(branch)
            self.commit(changes, branch=branch)

    @property
    def head(self) -> str:
        """The id of main's newest commit."""
        return self.branches["main"]

    def commit(
        self, changes: Mapping[str, Content | None], *, branch: str = "main", title: str = "change"
    ) -> str:
        """Change (or with None remove) files on a branch; return the new commit's id."""
        with self._lock:
            parent = self.branches.get(branch, "")
            files = dict(self._commits[parent].files) if parent else {}
            for path, content in changes.items():
                if content is None:
                    del files[path]
                else:
                    files[path] = to_blob(content)
            seed = f"{self.name}\0{parent}\0{len(self._commits)}"
            commit = Commit(hashlib.sha1(seed.encode()).hexdigest(), title, files)
            self._commits[commit.id] = commit
            self.branches[branch] = commit.id
            return commit.id

    def branch(self, name: str, revision: str = "main") -> None:
        """Let a new branch start at a revision."""
        self.branches[name] = self._known(revision)

    def tag(self, name: str, revision: str = "main") -> None:
        """Tag a revision."""
        self.tags[name] = self._known(revision)

    def resolve(self, revision: str) -> Commit | None:
        """Find the commit of a branch, a tag, a full id or refs/…; None when there is none."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        return self._commits.get(self.branches.get(name) or self.tags.get(name) or revision)

    def history(self, commit: Commit) -> list[Commit]:
        """The commits up to this one, newest first. All branches count as one line: nobody asks for more."""
        commits = list(self._commits.values())
        return commits[commits.index(commit) :: -1]

    def entries(self, commit: Commit) -> dict[str, Entry]:
        """What the listing of a commit states, in the hub's order; the extra entries last."""
        listing = {path: self._entry(path, commit.files[path]) for path in sorted(commit.files)}
        for extra in self._extra_entries:
            listing[extra.path] = self._extra(extra, commit.files.get(extra.path))
        return listing

    def _known(self, revision: str) -> str:
        commit = self.resolve(revision)
        if commit is None:
            raise KeyError(f"{self.name} has no revision {revision}")
        return commit.id

    def _entry(self, path: str, blob: Blob) -> Entry:
        return Entry(path, blob, self._is_lfs(path, blob), blob.size)

    def _extra(self, extra: ExtraEntry, real: Blob | None) -> Entry:
        blob = real or Blob(extra.content)
        is_lfs = self._is_lfs(extra.path, blob) if extra.is_lfs is None else extra.is_lfs
        return Entry(extra.path, blob, is_lfs, blob.size if extra.size is None else extra.size, extra.sha256)

    def _is_lfs(self, path: str, blob: Blob) -> bool:
        return self.stores_as_lfs(path, blob.size)

    def stores_as_lfs(self, path: str, size: int) -> bool:
        """Tell whether a file of this name and size is a large one."""
        return path.endswith(self._lfs_suffixes) or size > self._lfs_above_bytes
