"""A file that is here in part: which blocks of it have come, so that a killed download goes on where it was.

Beside the blob lie `<etag>.localllm.incomplete`, the bytes, and `<etag>.localllm.state`: one line of JSON,
filled up to `_HEADER_BYTES`, then one byte for every block, 1 when the block is there. A block is marked
after its bytes were handed to the system: killing the process loses nothing that is marked. A power cut
may; the hash over the whole tells.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK_BYTES = 1024 * 1024
DATA_SUFFIX = ".localllm.incomplete"
STATE_SUFFIX = ".localllm.state"
_HEADER_BYTES = 4096
_FORMAT = 1
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class PartialHeader:
    """What a state file says: the file's name in its repository, its length, and the server's ETag, or ""."""

    path: str
    size_bytes: int
    validator: str = ""


class StaleError(Exception):
    """What is written belongs to an attempt that was given up."""


class Partial:
    """The part of a file that has come, open for writing by several threads.

    Every write says to which attempt it belongs: `reset` and `close` end one, and what still comes for it
    raises StaleError.
    """

    def __init__(self, blob: Path, path: str, size_bytes: int, validator: str = "") -> None:
        """Open what is there of `blob`, or begin it. `validator`, when given, must be that of the part."""
        self.data_path = blob.with_name(blob.name + DATA_SUFFIX)
        self.state_path = blob.with_name(blob.name + STATE_SUFFIX)
        self.size_bytes = size_bytes
        self._header = PartialHeader(path, size_bytes, validator)
        self._lock = threading.Lock()
        self.attempt = 0
        self.written_bytes = 0  # by this object, in all its attempts
        blob.parent.mkdir(parents=True, exist_ok=True)
        found = _read_state(self.state_path)
        self._data = os.open(self.data_path, _FLAGS | _NO_LINKS, 0o644)
        self._state = os.open(self.state_path, _FLAGS | _NO_LINKS, 0o644)
        self._blocks = bytearray(-(-size_bytes // BLOCK_BYTES))
        self.is_replaced = False
        if found is not None and self._is_ours(*found):
            self._blocks = found[1]
        else:
            self.is_replaced = found is not None and any(found[1])
            self.reset()
        self.resumed_bytes = self.done_bytes

    @property
    def done_bytes(self) -> int:
        """Return the bytes of all blocks that are there."""
        return sum(end - start for start, end in self._spans(1))

    def prefix_bytes(self, known: int) -> int:
        """Return how many bytes from the beginning are there; so many as `known` are, that is sure."""
        missing = self._blocks.find(0, known // BLOCK_BYTES)
        return self.size_bytes if missing < 0 else missing * BLOCK_BYTES

    def missing(self) -> Iterator[tuple[int, int]]:
        """Yield the ranges that have not come, in order."""
        return self._spans(0)

    def write(self, attempt: int, offset: int, data: bytes) -> None:
        """Write bytes at their place; `mark` tells when a block of them is whole."""
        with self._lock:
            self._require(attempt)
            _write_at(self._data, data, offset)
            self.written_bytes += len(data)

    def mark(self, attempt: int, start: int, end: int) -> None:
        """Note that all bytes from `start`, the beginning of a block, to before `end` are written."""
        first, last = start // BLOCK_BYTES, end // BLOCK_BYTES
        if end == self.size_bytes:
            last = len(self._blocks)
        if last > first:
            ones = b"\1" * (last - first)
            with self._lock:
                self._require(attempt)
                _write_at(self._state, ones, _HEADER_BYTES + first)
                self._blocks[first:last] = ones

    def read(self, offset: int, length: int) -> bytes:
        with self._lock:
            os.lseek(self._data, offset, os.SEEK_SET)
            return os.read(self._data, length)

    def reset(self) -> None:
        """Forget everything that has come, and begin another attempt."""
        with self._lock:
            self.attempt += 1
            self._blocks = bytearray(len(self._blocks))
            os.ftruncate(self._data, 0)
            os.ftruncate(self._state, 0)
            line = json.dumps({"format": _FORMAT, **vars(self._header)}).encode()
            _write_at(self._state, line.ljust(_HEADER_BYTES) + bytes(self._blocks), 0)

    def publish(self, target: Path) -> None:
        """Make the whole file `target`, and remove what only its coming needed."""
        os.fsync(self._data)
        self.close()
        self.data_path.replace(target)
        self.state_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove everything that has come."""
        self.close()
        discard(self.data_path)

    def close(self) -> None:
        with self._lock:
            self.attempt += 1
            for descriptor in (self._data, self._state):
                with suppress(OSError):
                    os.close(descriptor)
            self._data = self._state = -1

    def _require(self, attempt: int) -> None:
        if attempt != self.attempt:
            raise StaleError

    def _is_ours(self, header: PartialHeader, blocks: bytearray) -> bool:
        """Tell whether what a state file says fits the file, and the data file what it says."""
        last = blocks.rfind(1)
        needed = min(self.size_bytes, (last + 1) * BLOCK_BYTES)
        return header == self._header and len(blocks) == len(self._blocks) and _length(self._data) >= needed

    def _spans(self, wanted: int) -> Iterator[tuple[int, int]]:
        position, count = 0, len(self._blocks)
        while (first := self._blocks.find(wanted, position)) >= 0:
            after = self._blocks.find(1 - wanted, first)
            position = count if after < 0 else after
            yield first * BLOCK_BYTES, min(position * BLOCK_BYTES, self.size_bytes)


def partials(folder: Path) -> dict[Path, PartialHeader]:
    """Return the files of `folder` that are there in part: where their bytes are, and what they are."""
    found = {}
    for state in folder.glob(f"*{STATE_SUFFIX}"):
        content = _read_state(state)
        if content is not None:
            found[state.with_name(state.name.removesuffix(STATE_SUFFIX) + DATA_SUFFIX)] = content[0]
    return found


def discard(data_path: Path) -> None:
    """Remove a file that is there in part."""
    data_path.unlink(missing_ok=True)
    data_path.with_name(data_path.name.removesuffix(DATA_SUFFIX) + STATE_SUFFIX).unlink(missing_ok=True)


def _read_state(path: Path) -> tuple[PartialHeader, bytearray] | None:
    try:
        content = path.read_bytes()
        fields: dict[str, Any] = json.loads(content[:_HEADER_BYTES])
        if fields.pop("format") != _FORMAT:
            return None
        return PartialHeader(**fields), bytearray(content[_HEADER_BYTES:])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _length(descriptor: int) -> int:
    return os.fstat(descriptor).st_size


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    os.lseek(descriptor, offset, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
