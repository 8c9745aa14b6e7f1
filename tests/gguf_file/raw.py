"""Assembles GGUF bytes by hand, right or wrong, without the writer under test."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from localllm.gguf_file.format import ValueType

HUGE = 2**64 - 1


def raw_string(data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(data) if length is None else length) + data


def pair(key: bytes, kind: int, payload: bytes) -> bytes:
    return raw_string(key) + struct.pack("<I", kind) + payload


def text_pair(key: bytes, value: bytes) -> bytes:
    return pair(key, ValueType.STRING, raw_string(value))


def array_pair(key: bytes, item: int, count: int, payload: bytes) -> bytes:
    return pair(key, ValueType.ARRAY, struct.pack("<IQ", item, count) + payload)


def alignment_pair(value: int) -> bytes:
    return pair(b"general.alignment", ValueType.UINT32, struct.pack("<I", value))


def tensor(name: bytes, shape: Sequence[int], kind: int = 0, offset: int = 0) -> bytes:
    dimensions = struct.pack(f"<{len(shape)}Q", *(size % 2**64 for size in shape))
    rest = struct.pack("<IQ", kind, offset % 2**64)
    return raw_string(name) + struct.pack("<I", len(shape)) + dimensions + rest


def gguf_bytes(
    pairs: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    *,
    data_bytes: int = 0,
    alignment: int = 32,
    magic: bytes = b"GGUF",
    version: int = 3,
    tensor_count: int | None = None,
    pair_count: int | None = None,
) -> bytes:
    """Return a file with these pairs and tensor entries, padding, and `data_bytes` zeros as data."""
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(pairs) if pair_count is None else pair_count,
    )
    header = magic + struct.pack("<IQQ", version, *counts) + b"".join([*pairs, *tensors])
    return header + bytes(-len(header) % alignment) + bytes(data_bytes)


class MemorySource:
    """Bytes as a ByteSource that counts what is read and may claim to be larger than it is.

    `most_at_once` makes it give less than it is asked for, as a connection does.
    """

    label = "memory"

    def __init__(self, data: bytes, size_bytes: int | None = None, most_at_once: int | None = None) -> None:
        self.data = data
        self.size_bytes = len(data) if size_bytes is None else size_bytes
        self.requests: list[tuple[int, int]] = []
        self.bytes_read = 0
        self._most_at_once = most_at_once

    def read_at(self, offset: int, length: int) -> bytes:
        """Return zeros beyond the data, as a sparse file does."""
        self.requests.append((offset, length))
        end = min(offset + min(length, self._most_at_once or length), self.size_bytes)
        found = self.data[offset:end].ljust(max(0, end - offset), b"\0")
        self.bytes_read += len(found)
        return found
