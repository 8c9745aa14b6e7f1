"""Writes GGUF files: metadata first, then tensor entries, then data in the same order.

`GGUFWriter` streams: the header is computed from shapes and types, and the caller then hands over
each tensor's bytes, in order, in pieces of any size. Everything the reader refuses is refused here
too, before a byte reaches the disk. Files are GGUF version 3, little endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from localllm.gguf_file.format import (
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_DIMENSIONS,
    MAX_KEY_BYTES,
    MAX_NAME_BYTES,
    SCALAR_FORMATS,
    WRITTEN_VERSION,
    Key,
    TensorType,
    ValueType,
    is_alignment,
)
from localllm.gguf_file.header import ArrayValue, EncodedValue, GGUFHeader, Scalar, TensorInfo

_ARRAY_HEAD_BYTES = 16  # its type, that of its items, and their number
_MANY = 4096  # texts from which on a loop over them is too slow


@dataclass(frozen=True)
class TypedValue:
    """A metadata value with its GGUF type; `item_type` is set for arrays only."""

    type: ValueType
    value: Any
    item_type: ValueType | None = None


def uint32(value: int) -> TypedValue:
    return TypedValue(ValueType.UINT32, value)


def float32(value: float) -> TypedValue:
    return TypedValue(ValueType.FLOAT32, value)


def boolean(value: bool) -> TypedValue:
    return TypedValue(ValueType.BOOL, value)


def string(value: str) -> TypedValue:
    return TypedValue(ValueType.STRING, value)


def array(item_type: ValueType, values: Sequence[Any]) -> TypedValue:
    return TypedValue(ValueType.ARRAY, values, item_type)


Metadata = Mapping[str, TypedValue]
HeaderValues = Mapping[str, TypedValue | EncodedValue]  # new ones, and ones copied from another file


class Sink(Protocol):
    """What can be written to: an open binary file, or something that passes the bytes on to one."""

    def write(self, data: bytes | memoryview, /) -> int: ...


@dataclass(frozen=True)
class TensorEntry:
    """A tensor to be written: ggml shape order (row length first)."""

    name: str
    shape: tuple[int, ...]
    type: TensorType


def layout(entries: Iterable[TensorEntry], alignment: int = DEFAULT_ALIGNMENT) -> list[TensorInfo]:
    """Give every entry its offset: one after the other, each padded to `alignment` bytes.

    Raise ValueError for a name or shape llama.cpp would refuse, or a name that appears twice.
    """
    infos: list[TensorInfo] = []
    seen: set[str] = set()
    offset = 0
    for entry in entries:
        if not 0 < len(entry.name.encode()) <= MAX_NAME_BYTES or "\0" in entry.name:
            raise ValueError(f"not a tensor name of 1 to {MAX_NAME_BYTES} bytes: {entry.name!r}")
        if entry.name in seen:
            raise ValueError(f"tensor name appears twice: {entry.name!r}")
        seen.add(entry.name)
        _check_shape(entry)
        info = TensorInfo(entry.name, entry.shape, entry.type, offset)
        infos.append(info)
        offset += info.size_bytes + -info.size_bytes % alignment
    return infos


def _check_shape(entry: TensorEntry) -> None:
    shape, block = entry.shape, entry.type.block_size
    if not 1 <= len(shape) <= MAX_DIMENSIONS or min(shape) < 0:
        raise ValueError(f"{entry.name!r} has the shape {shape}")
    if shape[0] % block:
        raise ValueError(f"{entry.name!r} has rows of {shape[0]}, not a multiple of {block}")


def encode_header(metadata: HeaderValues, tensors: Sequence[TensorInfo]) -> bytes:
    """Return the header, padded to the start of the data section."""
    header = b"".join(_header_parts(metadata, tensors))
    return header + bytes(-len(header) % alignment_of(metadata))


def header_bytes(metadata: HeaderValues, tensors: Sequence[TensorInfo]) -> int:
    """Return how long the header is, padded to the start of the data section."""
    size = sum(map(len, _header_parts(metadata, tensors)))
    return size + -size % alignment_of(metadata)


def _header_parts(metadata: HeaderValues, tensors: Sequence[TensorInfo]) -> list[bytes | memoryview]:
    parts: list[bytes | memoryview] = [
        MAGIC,
        struct.pack("<IQQ", WRITTEN_VERSION, len(tensors), len(metadata)),
    ]
    for key, value in metadata.items():
        if not 0 < len(key.encode()) <= MAX_KEY_BYTES or "\0" in key:
            raise ValueError(f"not a metadata key: {key[:MAX_KEY_BYTES]!r}")
        parts.append(_string(key))
        parts.append(_value(value))
    for tensor in tensors:
        parts.append(_string(tensor.name))
        dimensions = len(tensor.shape)
        parts.append(struct.pack(f"<I{dimensions}Q", dimensions, *tensor.shape))
        parts.append(struct.pack("<IQ", tensor.type.id, tensor.offset))
    return parts


def alignment_of(metadata: HeaderValues) -> int:
    """Return the alignment the metadata asks for. Raise ValueError when no reader would accept it."""
    asked = metadata.get(Key.ALIGNMENT, uint32(DEFAULT_ALIGNMENT))
    if isinstance(asked, EncodedValue):  # the reader lets no other type pass
        asked = uint32(int.from_bytes(asked.data[4:8], "little"))
    if asked.type is not ValueType.UINT32 or not is_alignment(asked.value):
        raise ValueError(f"{asked.value} cannot be an alignment")
    return int(asked.value)


def header_to_be(metadata: Metadata, tensors: Sequence[TensorInfo]) -> GGUFHeader:
    """Return what reading a file with this metadata and these tensors, as `layout` has them, would give."""
    encoded = {key: EncodedValue(bytes(_value(value))) for key, value in metadata.items()}
    alignment = alignment_of(metadata)
    data_offset = header_bytes(encoded, tensors)
    data_bytes = sum(tensor.size_bytes + -tensor.size_bytes % alignment for tensor in tensors)
    return GGUFHeader(
        version=WRITTEN_VERSION,
        metadata={key: _as_read(value, encoded[key]) for key, value in metadata.items()},
        encoded=encoded,
        tensors=tuple(tensors),
        alignment=alignment,
        data_offset=data_offset,
        file_size_bytes=data_offset + data_bytes,
    )


def _as_read(value: TypedValue, encoded: EncodedValue) -> Scalar | ArrayValue:
    if value.item_type is None:
        scalar: Scalar = value.value
        return scalar
    return ArrayValue(value.item_type, len(value.value), memoryview(encoded.data)[_ARRAY_HEAD_BYTES:])


class GGUFWriter:
    """Writes one GGUF file to an open file or another sink, tensor after tensor in the order of `entries`."""

    def __init__(self, file: Sink, metadata: HeaderValues, entries: Iterable[TensorEntry]) -> None:
        self._file = file
        self._alignment = alignment_of(metadata)
        self.tensors = layout(entries, self._alignment)
        self._next = 0
        header = encode_header(metadata, self.tensors)
        self.total_bytes = len(header) + sum(
            tensor.size_bytes + -tensor.size_bytes % self._alignment for tensor in self.tensors
        )
        file.write(header)

    def write_tensor(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Write the data of the next tensor. Raise ValueError if it is not `name` or of the wrong size."""
        if self._next == len(self.tensors):
            raise ValueError(f"all tensors are written, but {name!r} comes too")
        expected = self.tensors[self._next]
        if expected.name != name:
            raise ValueError(f"expected the data of {expected.name!r}, got {name!r}")
        written = 0
        for piece in pieces:
            self._file.write(piece)
            written += len(piece)
        if written != expected.size_bytes:
            raise ValueError(f"{name!r} has {written} bytes of data, not {expected.size_bytes}")
        self._file.write(bytes(-written % self._alignment))
        self._next += 1

    def finish(self) -> None:
        """Check that every tensor was written."""
        if self._next != len(self.tensors):
            raise ValueError(f"no data for {self.tensors[self._next].name!r}")


def _string(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(8, "little") + encoded


def _value(value: TypedValue | EncodedValue) -> bytes | memoryview:
    if isinstance(value, EncodedValue):
        return value.data
    if value.type is not ValueType.ARRAY:
        return struct.pack("<I", value.type) + _payload(value.type, [value.value])
    item_type = value.item_type
    if item_type is None:
        raise ValueError("an array needs an item type")
    head = struct.pack("<IIQ", ValueType.ARRAY, item_type, len(value.value))
    return head + _payload(item_type, value.value)


def _payload(kind: ValueType, values: Sequence[Any]) -> bytes:
    if kind is ValueType.STRING:
        return _strings(values)
    return struct.pack(f"<{len(values)}{SCALAR_FORMATS[kind][0]}", *values)


def _strings(values: Sequence[str]) -> bytes:
    """Return texts, each behind its length."""
    if len(values) >= _MANY:
        begun = "\0".join(["", *values]).encode()
        if begun.count(0) == len(values):  # a text may hold a NUL itself
            return _with_lengths(begun)
    return b"".join(map(_string, values))


def _with_lengths(begun: bytes) -> bytes:
    """Return texts with their lengths, eight bytes each, in place of the NULs in front of them."""
    import numpy as np

    begins = np.flatnonzero(np.frombuffer(begun, np.uint8) == 0)
    lengths = np.diff(begins, append=len(begun)) - 1
    encoded = np.frombuffer(bytearray(begun.replace(b"\0", bytes(8))), np.uint8)
    places = begins + 7 * np.arange(len(begins))
    while lengths.any():  # the lowest bytes first, the others are hardly ever needed
        encoded[places] = lengths & 0xFF
        lengths, places = lengths >> 8, places + 1
    return encoded.tobytes()
