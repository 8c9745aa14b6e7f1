"""Saved attention caches: llama.cpp's sequence file with a seal behind it.

llama.cpp ends the process over a damaged file. So nothing is handed to it whose bytes are not those that were
written: the seal at the end holds their checksum, and the fingerprint of the engine that wrote them.

For the same reason the file is not forced onto the disk: what a power cut leaves is found to be damaged.

Layout: llama.cpp's bytes, the seal as JSON, its length in 8 bytes (little-endian), `LLMSTATE`.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from localllm.engine.base import StateInfo
from localllm.errors import StateError, StorageError
from localllm.native.context import Context
from localllm.native.state import load_sequence, save_sequence

_MAGIC = b"LLMSTATE"
_END_BYTES = 8 + len(_MAGIC)
_MAX_SEAL_BYTES = 4096
_CHUNK_BYTES = 1024 * 1024
_VERSION = 1


@dataclass(frozen=True)
class _Seal:
    version: int
    fingerprint: str
    tokens: int
    size_bytes: int
    sha256: str


def save_state(context: Context, tokens: list[int], path: Path, fingerprint: str) -> StateInfo:
    """Write what sequence 0 of `context` holds, the cache of `tokens`, to a file only its owner may read.

    Raise StorageError.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        size = save_sequence(context, path, tokens)
        if not size or path.stat().st_size != size:
            raise StorageError(f"the state cannot be written to {path}", hint="the disk may be full")
        with path.open("r+b") as file:
            checksum = _checksum(file, size)
            seal = _Seal(_VERSION, fingerprint, len(tokens), size, checksum)
            encoded = json.dumps(asdict(seal)).encode()
            file.seek(size)
            file.write(encoded + len(encoded).to_bytes(8, "little") + _MAGIC)
    except OSError as error:
        raise StorageError(f"the state cannot be written to {path}: {error.strerror}") from None
    return StateInfo(len(tokens), path.stat().st_size)


def saved_tokens(path: Path, fingerprint: str) -> int:
    """Return how many tokens a saved state holds. Raise StateError when it is damaged or not ours."""
    try:
        with path.open("rb") as file:
            return _verified(file, path, fingerprint).tokens
    except OSError as error:
        raise StateError(f"the saved state {path.name} cannot be read: {error.strerror}") from None


def load_state(context: Context, path: Path, tokens: int) -> list[int]:
    """Restore sequence 0 from a file that `saved_tokens` has just found to hold so many; return the tokens.

    Raise StateError; the context is then empty.
    """
    held = load_sequence(context, path, tokens)
    if held is None or len(held) != tokens or context.held_positions()[1] != tokens - 1:
        context.clear()
        raise StateError(f"the saved state {path.name} does not fit this model")
    return held


def _verified(file: IO[bytes], path: Path, fingerprint: str) -> _Seal:
    seal = _read_seal(file)
    if seal is None:
        raise StateError(f"the saved state {path.name} is damaged or no such file")
    if seal.fingerprint != fingerprint:
        raise StateError(f"the saved state {path.name} is of another model or other settings")
    if _checksum(file, seal.size_bytes) != seal.sha256:
        raise StateError(f"the saved state {path.name} is damaged")
    return seal


def _read_seal(file: IO[bytes]) -> _Seal | None:
    size = file.seek(0, os.SEEK_END)
    if size < _END_BYTES:
        return None
    file.seek(size - _END_BYTES)
    length = int.from_bytes(file.read(8), "little")
    if file.read() != _MAGIC or length > min(_MAX_SEAL_BYTES, size - _END_BYTES):
        return None
    file.seek(size - _END_BYTES - length)
    try:
        fields = json.loads(file.read(length))
        seal = _Seal(
            int(fields["version"]),
            str(fields["fingerprint"]),
            int(fields["tokens"]),
            int(fields["size_bytes"]),
            str(fields["sha256"]),
        )
    except (ValueError, TypeError, KeyError):
        return None
    is_whole = seal.version == _VERSION and seal.size_bytes == size - _END_BYTES - length
    return seal if is_whole and 0 < seal.tokens < seal.size_bytes else None


def _checksum(file: IO[bytes], size: int) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0:
        block = file.read(min(size, _CHUNK_BYTES))
        if not block:
            break
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()
