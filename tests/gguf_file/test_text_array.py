"""Single texts out of long arrays."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from localllm.gguf_file import ArrayValue
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.text_array import contained, texts_at


def texts(items: list[str]) -> ArrayValue:
    encoded = (item.encode() for item in items)
    data = b"".join(struct.pack("<Q", len(item)) + item for item in encoded)
    return ArrayValue(ValueType.STRING, len(items), memoryview(data))


@given(st.lists(st.text(max_size=9), max_size=30), st.lists(st.integers(-3, 40), max_size=9))
def test_texts_at_their_places(items: list[str], places: list[int]) -> None:
    wanted = {place: items[place] for place in places if 0 <= place < len(items)}
    assert texts_at(texts(items), places) == wanted


@given(st.lists(st.text("ab", max_size=3), max_size=30), st.lists(st.text("ab", max_size=3), max_size=9))
def test_contained_are_whole_items(items: list[str], wanted: list[str]) -> None:
    assert contained(texts(items), wanted) == [text for text in wanted if text in items]


def test_in_a_long_array_both_ends_come_before_the_middle() -> None:
    filler = [f"filler {number:030d}" for number in range(20_000)]
    for place in (0, 10_000, 20_000):
        items = [*filler[:place], "<end>", *filler[place:]]
        assert contained(texts(items), ["<other>", "<end>"]) == ["<end>"]
    everywhere = ["<first>", *filler[:10_000], "<middle>", *filler[10_000:], "<last>"]
    assert contained(texts(everywhere), ["<last>", "<middle>", "<first>"]) == ["<last>", "<first>"]


def test_an_array_of_numbers_holds_no_texts() -> None:
    numbers = ArrayValue(ValueType.UINT32, 2, memoryview(bytes(8)))
    assert texts_at(numbers, [0]) == {}
    assert contained(numbers, ["a"]) == []
