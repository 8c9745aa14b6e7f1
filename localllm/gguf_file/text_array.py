"""Single texts out of a metadata array of hundreds of thousands, without decoding the others."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence

from localllm.gguf_file.format import ValueType
from localllm.gguf_file.header import ArrayValue

_LENGTH = struct.Struct("<Q")
_END_BYTES = 256 * 1024


def texts_at(array: ArrayValue, indices: Iterable[int]) -> dict[int, str]:
    """Return the texts at `indices`; those outside the array, or of an array of numbers, are left out."""
    wanted = sorted({index for index in indices if 0 <= index < array.count})
    if array.item_type is not ValueType.STRING or not wanted:
        return {}
    data = array._encoded
    length_at = _LENGTH.unpack_from
    found: dict[int, str] = {}
    position = index = 0
    for target in wanted:
        for _ in range(target - index):
            position += 8 + length_at(data, position)[0]
        (length,) = length_at(data, position)
        found[target] = str(data[position + 8 : position + 8 + length], "utf-8", "replace")
        index = target
    return found


def contained(array: ArrayValue, texts: Sequence[str]) -> list[str]:
    """Return those of `texts` that are items of the array, in their order.

    In a long array they are looked for at both ends, where tokens with a meaning lie, and in the middle only
    when none of them is there.
    """
    if array.item_type is not ValueType.STRING:
        return []
    data = array._encoded
    ends = (
        bytes(data) if len(data) <= 2 * _END_BYTES else bytes(data[:_END_BYTES]) + bytes(data[-_END_BYTES:])
    )
    found = [text for text in texts if _as_item(text) in ends]
    if found or len(ends) == len(data):
        return found
    # not copied, as a file may claim a vocabulary of any size
    anywhere = re.compile(b"|".join(re.escape(_as_item(text)) for text in texts))
    items = {match[0] for match in anywhere.finditer(data)}
    return [text for text in texts if _as_item(text) in items]


def _as_item(text: str) -> bytes:
    """Return a text with its length in front, so that part of another is not taken for it."""
    encoded = text.encode()
    return _LENGTH.pack(len(encoded)) + encoded
