"""What a GGUF header holds: metadata, tensor infos, and where the data begins."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from localllm.gguf_file.format import SCALAR_FORMATS, Key, TensorType, ValueType

Scalar = int | float | bool | str

_LENGTH = struct.Struct("<Q")  # in front of a text
_TYPE_CODE = struct.Struct("<I")  # in front of every value
_ARRAY_HEAD = struct.Struct("<IIQ")  # in front of an array: its type, that of its items, their number
_LONGEST_TEXT_BYTES = 8 * 1024 * 1024
_TEXT_START = 4 + 8  # a text begins behind the type code and its length


@dataclass(frozen=True, slots=True)
class ArrayValue:
    """A metadata array that stays encoded until `decode` is called; `len()` is free."""

    item_type: ValueType
    count: int
    _encoded: memoryview

    def __len__(self) -> int:
        return self.count

    def decode(self) -> list[Scalar]:
        """Return the items. Invalid UTF-8 in texts is replaced."""
        if self.item_type is not ValueType.STRING:
            character, _ = SCALAR_FORMATS[self.item_type]
            return list(struct.unpack(f"<{self.count}{character}", self._encoded))
        return [item.decode("utf-8", "replace") for item in self.raw_strings()]

    def raw_strings(self) -> list[bytes]:
        """Return the items of a string array as they are in the file."""
        data, items, end = bytes(self._encoded), [], 0
        length_at = _LENGTH.unpack_from
        for _ in range(self.count):
            start = end + _LENGTH.size
            end = start + length_at(data, end)[0]
            items.append(data[start:end])
        return items


@dataclass(frozen=True, slots=True)
class EncodedValue:
    """A metadata value as it lies in a file: its type code and everything behind it."""

    data: bytes | memoryview

    @property
    def type(self) -> ValueType:
        return ValueType(_TYPE_CODE.unpack_from(self.data)[0])

    def decode(self) -> Scalar | ArrayValue:
        """Return the value. Invalid UTF-8 in a text is replaced; `raw_text` has it."""
        kind = self.type
        if kind is ValueType.ARRAY:
            _, item, count = _ARRAY_HEAD.unpack_from(self.data)
            return ArrayValue(ValueType(item), count, memoryview(self.data)[_ARRAY_HEAD.size :])
        text = self.raw_text
        if text is not None:
            return str(text, "utf-8", "replace")
        value: Scalar = struct.unpack_from(f"<{SCALAR_FORMATS[kind][0]}", self.data, _TYPE_CODE.size)[0]
        return value

    @property
    def raw_text(self) -> memoryview | None:
        """Return the bytes of a text, or None for any other value."""
        return memoryview(self.data)[_TEXT_START:] if self.type is ValueType.STRING else None


class DecodedValues(Mapping[str, Scalar | ArrayValue]):
    """Metadata that is decoded when somebody looks at it: what nobody asks for costs no memory."""

    def __init__(self, encoded: Mapping[str, EncodedValue]) -> None:
        self._encoded = encoded

    def __getitem__(self, key: str) -> Scalar | ArrayValue:
        return self._encoded[key].decode()

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoded)

    def __len__(self) -> int:
        return len(self._encoded)

    def __repr__(self) -> str:
        return f"DecodedValues({list(self._encoded)})"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the header lists it.

    `shape` is in ggml's order: shape[0] is the row length, contiguous in the file. `offset` is
    relative to the start of the data section; `size_bytes` excludes padding.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.type.row_bytes(self.shape[0]) * math.prod(self.shape[1:])


@dataclass(frozen=True)
class GGUFHeader:
    """Everything in a GGUF file in front of the tensor data.

    `encoded` holds the values of `metadata` as they are in the file, to be copied to another.
    """

    version: int
    metadata: Mapping[str, Scalar | ArrayValue]
    encoded: Mapping[str, EncodedValue]
    tensors: tuple[TensorInfo, ...]
    alignment: int
    data_offset: int
    file_size_bytes: int

    @property
    def architecture(self) -> str:
        """Return `general.architecture`, or an empty string."""
        return self.text(Key.ARCHITECTURE)

    @property
    def parameters(self) -> int:
        return sum(tensor.parameters for tensor in self.tensors)

    @property
    def tensor_bytes(self) -> int:
        return sum(tensor.size_bytes for tensor in self.tensors)

    def text(self, key: str) -> str:
        """Return a text, or an empty one when it is missing, of another type or longer than 8 MiB."""
        encoded = self.encoded.get(key)
        if encoded is None or encoded.type is not ValueType.STRING or len(encoded.data) > _LONGEST_TEXT_BYTES:
            return ""
        return str(encoded.decode())

    def integer(self, key: str) -> int | None:
        """Return an integer value, or None when it is missing or of another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def number(self, key: str) -> float | None:
        """Return an integer or float value as a float, or None."""
        value = self.metadata.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def array(self, key: str) -> ArrayValue | None:
        """Return an array value, or None when it is missing or of another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, ArrayValue) else None

    def architecture_integer(self, suffix: str) -> int | None:
        """Return the integer under `{architecture}.{suffix}`, or None."""
        return self.integer(f"{self.architecture}.{suffix}")
