"""The beginning of a ByteSource, read once from front to back, as far as somebody steps.

Every length is checked against the size of the file and against `MAX_HEADER_BYTES` before anything is
read or allocated. What is read ahead grows with what was read, so that a header costs few requests where
each takes long, and never more than a tenth of its size, plus a megabyte, in bytes that nobody needs.
"""

from __future__ import annotations

import struct
from typing import Any

from localllm.errors import InvalidGGUFError
from localllm.gguf_file.source import ByteSource, printable

MAX_HEADER_BYTES = 48 * 1024 * 1024  # the largest vocabularies make headers of 16 MB
MAX_TEXTS = 2**21  # in all arrays; the largest vocabularies have 800,000 tokens and merges
_READ_AHEAD = 1_000_000
_LENGTH = struct.Struct("<Q")
_DAMAGED = "the file is damaged or no GGUF file at all; download or make it again"
INCOMPLETE = "it was not copied or downloaded to the end; fetch it again"
_LONGEST_NAME = 60


def shown(name: str) -> str:
    """Return a name from a file as it can stand in a message: short, without control characters."""
    return printable(name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…")


class Window:
    """What was read of `source`; `position` is where the next step begins."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.position = 0
        self._buffer = bytearray()
        self._texts = 0

    def take(self, layout: str, what: str) -> tuple[Any, ...]:
        """Step over fixed-size values and return them; `what` is their name in an error."""
        size = struct.calcsize(layout)
        self.advance(size, what)
        return struct.unpack_from(layout, self._buffer, self.position - size)

    def text(self, what: str, limit: int = MAX_HEADER_BYTES) -> bytes:
        """Step over a text of up to `limit` bytes and return it."""
        start = self.skip_text(what, limit)
        return bytes(self._buffer[start : self.position])

    def skip_text(self, what: str, limit: int = MAX_HEADER_BYTES) -> int:
        """Step over a text and return where its first byte lies."""
        (length,) = self.take("<Q", what)
        if length > limit:
            raise self.bad(f"{what} is {length} bytes long, more than {limit}")
        start = self.position
        self.advance(length, what)
        return start

    def skip_texts(self, count: int, what: str) -> None:
        """Step over `count` texts."""
        self._check_room(count * _LENGTH.size, what)
        self._texts += count
        if self._texts > MAX_TEXTS:
            raise self.bad(f"{what} claims to hold {count} texts")
        # A vocabulary has hundreds of thousands: the loop makes one call for each.
        length_at, buffer, position = _LENGTH.unpack_from, self._buffer, self.position
        last = len(buffer) - _LENGTH.size
        for _ in range(count):
            if position > last:
                self.position = position
                last = self._fill(_LENGTH.size, what) - _LENGTH.size
            position += 8 + length_at(buffer, position)[0]
        self.advance(position - self.position, what)

    def advance(self, size: int, what: str) -> None:
        """Step over `size` bytes."""
        if self.position + size > len(self._buffer):
            self._fill(size, what)
        self.position += size

    def freeze(self) -> memoryview:
        """Return everything read so far; nothing more can be read then."""
        return memoryview(self._buffer).toreadonly()

    def bad(self, reason: str, hint: str = _DAMAGED) -> InvalidGGUFError:
        """Return the error for this file."""
        return InvalidGGUFError(f"{self.source.label}: {reason}", hint=hint)

    def truncated(self, what: str) -> InvalidGGUFError:
        """Return the error for a file that ends inside `what`."""
        return self.bad(f"the file is truncated inside {what}", hint=INCOMPLETE)

    def _fill(self, size: int, what: str) -> int:
        """Make at least `size` bytes from the position available; return where the buffer ends."""
        self._check_room(size, what)
        wanted = self.position + size
        limit = min(self.source.size_bytes, MAX_HEADER_BYTES)
        while (have := len(self._buffer)) < wanted:
            length = min(_READ_AHEAD + have // 10, limit - have)
            chunk = self.source.read_at(have, length)
            if not chunk:
                raise self.bad("the file became shorter while it was read", hint="try again when it is done")
            self._buffer += chunk
        return len(self._buffer)

    def _check_room(self, size: int, what: str) -> None:
        if self.position + size > self.source.size_bytes:
            raise self.truncated(what)
        if self.position + size > MAX_HEADER_BYTES:
            raise self.bad(f"the header is larger than {MAX_HEADER_BYTES} bytes at {what}")
