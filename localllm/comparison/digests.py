"""The checksums of model files, computed once as long as a file does not change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from localllm.comparison.places import comparisons_directory, read_json, write_json
from localllm.errors import StorageError
from localllm.events import Advanced, Emit, Finished, Started, ignore

_STEP = "checksum"
_READ_BYTES = 4 * 1024 * 1024


def digest_of(paths: Sequence[Path], *, emit: Emit = ignore) -> str:
    """Return the SHA-256 of files, one behind the other. Raise StorageError when they cannot be read."""
    try:
        states = [_state(path) for path in paths]
        memo = _memo(paths)
        known = read_json(memo)
        if isinstance(known, dict) and known.get("files") == states and isinstance(known.get("sha256"), str):
            return str(known["sha256"])
        digest = _digest(paths, emit)
    except OSError as error:
        raise StorageError(f"cannot read {paths[0]}: {error.strerror or error}") from error
    with suppress(OSError):
        write_json(memo, {"files": states, "sha256": digest})
    return digest


def text_digest(paths: Iterable[Path]) -> str:
    """Return one checksum for some texts in order. Raise StorageError when they cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def _state(path: Path) -> list[str | int]:
    """Return what changes when a file does."""
    found = path.stat()
    return [os.path.realpath(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _memo(paths: Sequence[Path]) -> Path:
    place = os.path.realpath(paths[0]).encode("utf-8", "surrogateescape")
    return comparisons_directory() / "digests" / f"{hashlib.sha256(place).hexdigest()[:40]}.json"


def _digest(paths: Sequence[Path], emit: Emit) -> str:
    digest, done = hashlib.sha256(), 0
    buffer = bytearray(_READ_BYTES)
    view = memoryview(buffer)
    emit(Started(_STEP, sum(path.stat().st_size for path in paths), "bytes"))
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(view[:count])
                done += count
                emit(Advanced(_STEP, done, path.name))
    emit(Finished(_STEP))
    return digest.hexdigest()
