"""A bounded reader for GGUF headers, safe on hostile files.

It reads the header only, never tensor data, and never more than `MAX_HEADER_BYTES`; every count,
length and offset is checked against the file before anything is allocated. Whatever is wrong with
a file becomes an InvalidGGUFError that names the place. String arrays (vocabularies, merges) are
only walked over; they are decoded when somebody asks for them.

The limits are those of ggml's own reader (ggml/src/gguf.cpp) or tighter.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from localllm.errors import InvalidGGUFError
from localllm.gguf_file.format import (
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_ALIGNMENT,
    MAX_DIMENSIONS,
    MAX_NAME_BYTES,
    SCALAR_FORMATS,
    SUPPORTED_VERSIONS,
    TENSOR_TYPES,
    Key,
    ValueType,
    is_alignment,
)
from localllm.gguf_file.header import ArrayValue, EncodedValue, GGUFHeader, Scalar, TensorInfo
from localllm.gguf_file.source import ByteSource, FileSource

MAX_HEADER_BYTES = 64 * 1024 * 1024
MAX_ENTRIES = 1_000_000  # metadata pairs, and tensors
_INT64_MAX = 2**63 - 1
_READ_AHEAD = 1024 * 1024
# value type, type of the items of an array, number of items, where the value begins and ends
_Span = tuple[ValueType, ValueType | None, int, int, int]
_DAMAGED = "the file is damaged or no GGUF file at all; download or make it again"


def read_header(source: Path | ByteSource) -> GGUFHeader:
    """Read and check the header of a GGUF file.

    Raise NotFoundError when a path does not exist and InvalidGGUFError for everything else.
    """
    if not isinstance(source, Path):
        return _HeaderParser(source).parse()
    file = FileSource(source)
    try:
        return _HeaderParser(file).parse()
    finally:
        file.close()


class _HeaderParser:
    """Walks the header once, reading ahead in chunks and keeping what it has read."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._buffer = bytearray()
        self._position = 0

    def parse(self) -> GGUFHeader:
        version = self._preamble()
        tensor_count, pair_count = self._take("<QQ", "the counts")
        self._check_count(pair_count, "metadata pairs", 13)
        self._check_count(tensor_count, "tensors", 25)
        spans = self._metadata_spans(pair_count)
        tensors = self._tensor_infos(tensor_count)
        frozen = memoryview(bytes(self._buffer))  # it no longer grows, so values may keep views of it
        metadata = self._metadata(spans, frozen)
        alignment = self._alignment(spans, metadata)
        end = self._position
        data_offset = end + -end % alignment
        self._check_layout(tensors, alignment, data_offset)
        return GGUFHeader(
            version=version,
            metadata=MappingProxyType(metadata),
            encoded=MappingProxyType({key: _encoded(span, frozen) for key, span in spans.items()}),
            tensors=tuple(tensors),
            alignment=alignment,
            data_offset=data_offset,
            file_size_bytes=self._source.size_bytes,
        )

    def _preamble(self) -> int:
        if self._source.size_bytes == 0:
            raise self._bad("the file is empty", hint="it was not downloaded or written; make it again")
        if self._source.size_bytes < 24:
            if not self._source.read_at(0, 4).startswith(MAGIC[: self._source.size_bytes]):
                raise self._bad("it is not a GGUF file")
            raise self._bad("the file is truncated inside its first 24 bytes")
        magic, version = self._take("<4sI", "the magic")
        if magic != MAGIC:
            raise self._bad("it is not a GGUF file", hint=_foreign_format_hint(magic))
        if version not in SUPPORTED_VERSIONS:
            if version and version & 0xFFFF == 0:
                raise self._bad("it is a big-endian GGUF file, which is not supported")
            raise self._bad(f"GGUF version {version} is not supported (2 and 3 are)")
        return int(version)

    # metadata -------------------------------------------------------------------------------

    def _metadata_spans(self, count: int) -> dict[str, _Span]:
        """Walk over the pairs; return where each value lies, keyed by its name."""
        spans: dict[str, _Span] = {}
        for _ in range(count):
            key = self._string("a metadata key", limit=65_535).decode("utf-8", "replace")
            if not key:
                raise self._bad("a metadata key is empty")
            if key in spans:
                raise self._bad(f"metadata key `{key}` appears twice")
            kind = self._value_type(key)
            if kind is ValueType.ARRAY:
                item = self._value_type(key)
                (length,) = self._take("<Q", f"the length of `{key}`")
                start = self._skip_array(key, item, length)
                spans[key] = (kind, item, length, start, self._position)
            else:
                start = self._position
                self._skip_scalar(key, kind)
                spans[key] = (kind, None, 1, start, self._position)
        return spans

    def _value_type(self, key: str) -> ValueType:
        (code,) = self._take("<I", f"the type of `{key}`")
        try:
            return ValueType(code)
        except ValueError:
            raise self._bad(f"metadata key `{key}` has unknown type {code}") from None

    def _skip_scalar(self, key: str, kind: ValueType) -> None:
        if kind is ValueType.STRING:
            self._string(f"the value of `{key}`")
        else:
            self._advance(SCALAR_FORMATS[kind][1], f"the value of `{key}`")

    def _skip_array(self, key: str, item: ValueType, count: int) -> int:
        """Step over an array's items and return where they begin."""
        what = f"the array `{key}`"
        if item is ValueType.ARRAY:
            raise self._bad(f"metadata key `{key}` holds nested arrays, which llama.cpp refuses")
        start = self._position
        if item is not ValueType.STRING:
            self._advance(count * SCALAR_FORMATS[item][1], what)
            return start
        self._check_room(count * 8, what)
        # A vocabulary has hundreds of thousands of items: this loop stays free of calls.
        unpack = struct.Struct("<Q").unpack_from
        position, buffer, available = start, self._buffer, len(self._buffer)
        for _ in range(count):
            if position + 8 > available:
                self._position = position
                available = self._fill(8, what)
            position += 8 + unpack(buffer, position)[0]
            if position > available:
                self._position = start
                available = self._fill(position - start, what)
        self._position = position
        return start

    def _metadata(self, spans: Mapping[str, _Span], frozen: memoryview) -> dict[str, Scalar | ArrayValue]:
        """Decode the values."""
        values: dict[str, Scalar | ArrayValue] = {}
        for key, (kind, item, count, start, end) in spans.items():
            if item is not None:
                values[key] = ArrayValue(item, count, frozen[start:end])
            elif kind is ValueType.STRING:
                values[key] = bytes(frozen[start + 8 : end]).decode("utf-8", "replace")
            else:
                values[key] = struct.unpack(f"<{SCALAR_FORMATS[kind][0]}", frozen[start:end])[0]
        return values

    def _alignment(
        self,
        spans: Mapping[str, _Span],
        metadata: Mapping[str, Scalar | ArrayValue],
    ) -> int:
        value = metadata.get(Key.ALIGNMENT, DEFAULT_ALIGNMENT)
        kind = spans[Key.ALIGNMENT][0] if Key.ALIGNMENT in spans else ValueType.UINT32
        if not isinstance(value, int) or kind is not ValueType.UINT32:
            raise self._bad("`general.alignment` is not an unsigned number of 32 bits")
        if not is_alignment(value):
            raise self._bad(f"`general.alignment` is {value}, not a power of two up to {MAX_ALIGNMENT}")
        return value

    # tensors --------------------------------------------------------------------------------

    def _tensor_infos(self, count: int) -> list[TensorInfo]:
        tensors: list[TensorInfo] = []
        seen: set[str] = set()
        for _ in range(count):
            name = self._string("a tensor name", limit=MAX_NAME_BYTES).decode("utf-8", "replace")
            if name in seen:
                raise self._bad(f"tensor `{name}` appears twice")
            seen.add(name)
            tensors.append(self._tensor_info(name))
        return tensors

    def _tensor_info(self, name: str) -> TensorInfo:
        what = f"the entry of tensor `{name}`"
        (dimensions,) = self._take("<I", what)
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise self._bad(f"tensor `{name}` has {dimensions} dimensions")
        shape = self._take(f"<{dimensions}Q", what)
        code, offset = self._take("<IQ", what)
        kind = TENSOR_TYPES.get(code)
        if kind is None:
            raise self._bad(f"tensor `{name}` has unknown type {code}")
        if any(size > _INT64_MAX for size in shape) or math.prod(shape) > _INT64_MAX:
            raise self._bad(f"tensor `{name}` has an impossible shape")
        if shape[0] % kind.block_size:
            raise self._bad(
                f"tensor `{name}` has rows of {shape[0]}, not a multiple of {kind.name}'s {kind.block_size}"
            )
        return TensorInfo(name, shape, kind, offset)

    def _check_layout(self, tensors: list[TensorInfo], alignment: int, data_offset: int) -> None:
        """Offsets must follow one another without gaps, and the data must lie inside the file."""
        expected = 0
        for tensor in tensors:
            if tensor.offset != expected:
                raise self._bad(f"tensor `{tensor.name}` is at offset {tensor.offset} instead of {expected}")
            size = tensor.size_bytes
            expected += size + -size % alignment
            end = data_offset + tensor.offset + size
            if end > self._source.size_bytes:
                raise self._bad(
                    f"the file is truncated: tensor `{tensor.name}` ends at byte {end}, "
                    f"the file at {self._source.size_bytes}",
                    hint="it was not copied or downloaded to the end; fetch it again",
                )

    # bytes ----------------------------------------------------------------------------------

    def _string(self, what: str, limit: int = MAX_HEADER_BYTES) -> bytes:
        (length,) = self._take("<Q", what)
        if length > limit:
            raise self._bad(f"{what} is {length} bytes long, more than {limit}")
        start = self._position
        self._advance(length, what)
        return bytes(self._buffer[start : start + length])

    def _take(self, layout: str, what: str) -> tuple[Any, ...]:
        size = struct.calcsize(layout)
        self._advance(size, what)
        return struct.unpack_from(layout, self._buffer, self._position - size)

    def _advance(self, size: int, what: str) -> None:
        if self._position + size > len(self._buffer):
            self._fill(size, what)
        self._position += size

    def _fill(self, size: int, what: str) -> int:
        """Make at least `size` bytes from the position available; return the end of the buffer."""
        self._check_room(size, what)
        wanted = self._position + size
        while len(self._buffer) < wanted:
            missing = max(wanted - len(self._buffer), _READ_AHEAD)
            chunk = self._source.read_at(len(self._buffer), missing)
            if not chunk:
                raise self._bad(f"the file is truncated inside {what}")
            self._buffer += chunk
        return len(self._buffer)

    def _check_room(self, size: int, what: str) -> None:
        if self._position + size > self._source.size_bytes:
            raise self._bad(f"the file is truncated inside {what}")
        if self._position + size > MAX_HEADER_BYTES:
            raise self._bad(f"the header is larger than {MAX_HEADER_BYTES} bytes at {what}")

    def _check_count(self, count: int, what: str, smallest_bytes: int) -> None:
        if count > MAX_ENTRIES or count * smallest_bytes > self._source.size_bytes:
            raise self._bad(f"it claims to hold {count} {what}")

    def _bad(self, reason: str, hint: str | None = _DAMAGED) -> InvalidGGUFError:
        return InvalidGGUFError(f"{self._source.label}: {reason}", hint=hint)


def _encoded(span: _Span, frozen: memoryview) -> EncodedValue:
    """Return a value with what stands in front: its type; for an array also its items' type and number."""
    _, item, _, start, end = span
    return EncodedValue(frozen[start - (4 if item is None else 16) : end])


def _foreign_format_hint(magic: bytes) -> str:
    """Recognise files that people pass by mistake."""
    if magic == b"PK\x03\x04":
        return "it looks like a PyTorch file; convert the checkpoint directory instead"
    if magic in (b"ggml", b"ggjt", b"lmgg", b"tjgg", b"GGJT", b"GGML"):
        return "it is an old GGML file; convert the original checkpoint again"
    if magic[1:2] == b"\x00" or magic[2:4] == b"\x00\x00":
        return "if it is a safetensors file, pass the directory it is in to `localllm convert`"
    return _DAMAGED
