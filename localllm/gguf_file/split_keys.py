"""What each file of a split model says of its place among them."""

from __future__ import annotations

from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.writer import TypedValue


def split_metadata(number: int, count: int, tensors: int) -> dict[str, TypedValue]:
    """Return the keys of file `number`, from 0, of `count`; `tensors` is the number in all of them."""
    return {
        str(Key.SPLIT_NUMBER): TypedValue(ValueType.UINT16, number),
        str(Key.SPLIT_COUNT): TypedValue(ValueType.UINT16, count),
        str(Key.SPLIT_TENSORS): TypedValue(ValueType.INT32, tensors),
    }
