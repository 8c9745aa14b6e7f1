"""What a GGUF header holds: metadata, tensor infos, and where the data begins."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from localllm.gguf_file.format import SCALAR_FORMATS, Key, TensorType, ValueType

Scalar = int | float | bool | str


@dataclass(frozen=True)
class ArrayValue:
    """A metadata array that stays encoded until `decode` is called; `len()` is free."""

    item_type: ValueType
    count: int
    _encoded: memoryview

    def __len__(self) -> int:
        return self.count

    def decode(self) -> list[Scalar]:
        """Return the items. Invalid UTF-8 in strings is replaced; see `GGUFHeader.problems`."""
        if self.item_type is not ValueType.STRING:
            character, _ = SCALAR_FORMATS[self.item_type]
            return list(struct.unpack(f"<{self.count}{character}", self._encoded))
        return [item.decode("utf-8", "replace") for item in self.raw_strings()]

    def raw_strings(self) -> list[bytes]:
        """Return the items of a string array as they are in the file."""
        data, items, position = bytes(self._encoded), [], 0
        for _ in range(self.count):
            length = int.from_bytes(data[position : position + 8], "little")
            position += 8 + length
            items.append(data[position - length : position])
        return items


@dataclass(frozen=True)
class EncodedValue:
    """A metadata value as it lies in a file: its type code and everything behind it."""

    data: bytes | memoryview


@dataclass(frozen=True)
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
        """Return a string value, or an empty string when it is missing or of another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

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
