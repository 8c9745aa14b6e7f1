"""The hashes the hub names files by: sha256 for large files, git's own for small ones."""

from __future__ import annotations

import hashlib
from typing import Protocol

from localllm.hub.cache import RepoFile


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


def digest_for(file: RepoFile) -> Digest:
    """Return what to feed the bytes of a file to; in the end `hexdigest()` must be the file's `etag`."""
    if file.sha256 is not None:
        return hashlib.sha256()
    digest = hashlib.sha1(usedforsecurity=False)  # git's: over a header and the content
    digest.update(f"blob {file.size_bytes}\0".encode())
    return digest
