"""A bounded reader for GGUF headers, safe on hostile files.

It reads the header only, never tensor data, and never more than `MAX_HEADER_BYTES`; every count,
length and offset is checked against the file before anything is allocated. Whatever is wrong with
a file becomes an InvalidGGUFError that names the place. Values are only walked over; they are decoded
when somebody asks for them. Names that are not UTF-8 are kept apart by escapes (`\\xff`).

The limits are those of ggml's own reader (ggml/src/gguf.cpp) or tighter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from localllm.gguf_file.format import (
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_ALIGNMENT,
    MAX_DIMENSIONS,
    MAX_KEY_BYTES,
    MAX_NAME_BYTES,
    SCALAR_FORMATS,
    SUPPORTED_VERSIONS,
    TENSOR_TYPES,
    Key,
    ValueType,
    is_alignment,
)
from localllm.gguf_file.header import DecodedValues, EncodedValue, GGUFHeader, TensorInfo
from localllm.gguf_file.source import ByteSource, FileSource
from localllm.gguf_file.window import INCOMPLETE, MAX_HEADER_BYTES, Window, shown

__all__ = ["MAX_HEADER_BYTES", "read_header"]

MAX_PAIRS = 10_000  # of metadata; models have fewer than a hundred
MAX_TENSORS = 65_535  # models have up to a few thousand
_INT64_MAX = 2**63 - 1
_SMALLEST_PAIR, _SMALLEST_TENSOR = 13, 25  # bytes
_NO_GGUF = "pass a .gguf file, or make one with `localllm convert`"
_FOREIGN = {  # the first bytes of files that people pass by mistake
    bytes(4): "whatever wrote it was interrupted; make it again",
    b"PK\x03\x04": "it looks like a PyTorch file; convert the checkpoint directory instead",
    **dict.fromkeys(
        (b"ggml", b"ggjt", b"lmgg", b"tjgg", b"GGJT", b"GGML"),
        "it is an old GGML file; convert the original checkpoint again",
    ),
}


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
    """Walks over a header once, from front to back."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._window = Window(source)

    def parse(self) -> GGUFHeader:
        window = self._window
        version = self._preamble()
        tensor_count, pair_count = window.take("<QQ", "the counts")
        self._check_count(pair_count, MAX_PAIRS, _SMALLEST_PAIR, "metadata pairs")
        self._check_count(tensor_count, MAX_TENSORS, _SMALLEST_TENSOR, "tensors")
        spans = self._metadata_spans(pair_count)
        tensors = self._tensor_infos(tensor_count)
        frozen = window.freeze()
        encoded = {key: EncodedValue(frozen[start:end]) for key, (start, end) in spans.items()}
        alignment = self._alignment(encoded)
        data_offset = window.position + -window.position % alignment
        self._check_layout(tensors, alignment, data_offset)
        return GGUFHeader(
            version=version,
            metadata=DecodedValues(encoded),
            encoded=MappingProxyType(encoded),
            tensors=tuple(tensors),
            alignment=alignment,
            data_offset=data_offset,
            file_size_bytes=self._source.size_bytes,
        )

    def _preamble(self) -> int:
        size = self._source.size_bytes
        if size == 0:
            raise self._window.bad(
                "the file is empty", hint="it was not downloaded or written; make it again"
            )
        if size < len(MAGIC):
            if not MAGIC.startswith(self._source.read_at(0, size)):
                raise self._window.bad("it is not a GGUF file", hint=_NO_GGUF)
            raise self._window.truncated("its first 24 bytes")
        (magic,) = self._window.take("<4s", "the magic")
        if magic != MAGIC:
            raise self._window.bad("it is not a GGUF file", hint=self._foreign_format_hint(magic))
        if size < 24:
            raise self._window.truncated("its first 24 bytes")
        (version,) = self._window.take("<I", "the version")
        if version not in SUPPORTED_VERSIONS:
            if version and version & 0xFFFF == 0:
                hint = "convert the original checkpoint again"
                raise self._window.bad("it is a big-endian GGUF file, which is not supported", hint=hint)
            raise self._window.bad(f"GGUF version {version} is not supported (2 and 3 are)")
        return int(version)

    def _foreign_format_hint(self, magic: bytes) -> str:
        """Recognise files that people pass by mistake."""
        if self._source.read_at(8, 1) == b"{":
            return "it looks like a safetensors file; pass the directory it is in to `localllm convert`"
        return _FOREIGN.get(magic, _NO_GGUF)

    def _check_count(self, count: int, most: int, smallest_bytes: int, what: str) -> None:
        if count > most or count * smallest_bytes > self._source.size_bytes:
            raise self._window.bad(f"it claims to hold {count} {what}")

    def _name(self, what: str, limit: int) -> str:
        """Return a name as text; two that differ stay different whatever their bytes are.

        llama.cpp reads names up to a zero byte, so with one in it a name would be another one there.
        """
        name = self._window.text(what, limit)
        if b"\0" in name:
            raise self._window.bad(f"{what} has a zero byte in it")
        return name.decode("utf-8", "backslashreplace")

    # metadata -------------------------------------------------------------------------------

    def _metadata_spans(self, count: int) -> dict[str, tuple[int, int]]:
        """Walk over the pairs; return where each value lies, from its type code on, keyed by its name."""
        spans: dict[str, tuple[int, int]] = {}
        for _ in range(count):
            key = self._name("a metadata key", MAX_KEY_BYTES)
            if not key:
                raise self._window.bad("a metadata key is empty")
            if key in spans:
                raise self._window.bad(f"metadata key `{shown(key)}` appears twice")
            start = self._window.position
            self._skip_value(shown(key))
            spans[key] = (start, self._window.position)
        return spans

    def _skip_value(self, key: str) -> None:
        kind = self._value_type(key)
        if kind is ValueType.STRING:
            self._window.skip_text(f"the value of `{key}`")
        elif kind is ValueType.ARRAY:
            self._skip_array(key)
        else:
            self._window.advance(SCALAR_FORMATS[kind][1], f"the value of `{key}`")

    def _value_type(self, key: str) -> ValueType:
        (code,) = self._window.take("<I", f"the type of `{key}`")
        try:
            return ValueType(code)
        except ValueError:
            raise self._window.bad(f"metadata key `{key}` has unknown type {code}") from None

    def _skip_array(self, key: str) -> None:
        what = f"the array `{key}`"
        item = self._value_type(key)
        (count,) = self._window.take("<Q", f"the length of `{key}`")
        if item is ValueType.ARRAY:
            raise self._window.bad(f"metadata key `{key}` holds nested arrays, which llama.cpp refuses")
        if item is ValueType.STRING:
            self._window.skip_texts(count, what)
        else:
            self._window.advance(count * SCALAR_FORMATS[item][1], what)

    def _alignment(self, encoded: Mapping[str, EncodedValue]) -> int:
        given = encoded.get(Key.ALIGNMENT)
        if given is None:
            return DEFAULT_ALIGNMENT
        value = given.decode()
        if not isinstance(value, int) or given.type is not ValueType.UINT32:
            raise self._window.bad("`general.alignment` is not an unsigned number of 32 bits")
        if not is_alignment(value):
            raise self._window.bad(
                f"`general.alignment` is {value}, not a power of two up to {MAX_ALIGNMENT}"
            )
        return value

    # tensors --------------------------------------------------------------------------------

    def _tensor_infos(self, count: int) -> list[TensorInfo]:
        tensors: list[TensorInfo] = []
        seen: set[str] = set()
        for _ in range(count):
            name = self._name("a tensor name", MAX_NAME_BYTES)
            if name in seen:
                raise self._window.bad(f"tensor `{shown(name)}` appears twice")
            seen.add(name)
            tensors.append(self._tensor_info(name))
        return tensors

    def _tensor_info(self, name: str) -> TensorInfo:
        quoted = f"tensor `{shown(name)}`"
        what = f"the entry of {quoted}"
        (dimensions,) = self._window.take("<I", what)
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise self._window.bad(f"{quoted} has {dimensions} dimensions")
        *sizes, code, offset = self._window.take(f"<{dimensions}QIQ", what)
        shape = tuple(sizes)
        kind = TENSOR_TYPES.get(code)
        if kind is None:
            raise self._window.bad(f"{quoted} has unknown type {code}")
        if any(size > _INT64_MAX for size in shape) or math.prod(shape) > _INT64_MAX:
            raise self._window.bad(f"{quoted} has an impossible shape")
        if shape[0] % kind.block_size:
            raise self._window.bad(
                f"{quoted} has rows of {shape[0]}, not a multiple of {kind.name}'s {kind.block_size}"
            )
        info = TensorInfo(name, shape, kind, offset)
        if info.size_bytes > _INT64_MAX:
            raise self._window.bad(f"{quoted} claims {info.size_bytes} bytes")
        return info

    def _check_layout(self, tensors: list[TensorInfo], alignment: int, data_offset: int) -> None:
        """Offsets must follow one another without gaps, and the data must lie inside the file."""
        expected = 0
        file_end = self._source.size_bytes
        for tensor in tensors:
            if tensor.offset != expected:
                raise self._window.bad(
                    f"tensor `{shown(tensor.name)}` is at offset {tensor.offset} instead of {expected}"
                )
            size = tensor.size_bytes
            expected += size + -size % alignment
            end = data_offset + tensor.offset + size
            if end > file_end:
                raise self._window.bad(
                    f"the file is truncated: tensor `{shown(tensor.name)}` ends at byte {end}, "
                    f"the file at {file_end}",
                    hint=INCOMPLETE,
                )
