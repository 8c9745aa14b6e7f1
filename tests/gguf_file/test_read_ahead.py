"""How a header is fetched from where requests are slow and bytes cost: few requests, few bytes too many."""

from __future__ import annotations

import struct

import pytest

from localllm.errors import InvalidGGUFError
from localllm.gguf_file import read_header
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.reader import MAX_HEADER_BYTES
from tests.gguf_file.raw import MemorySource, array_pair, gguf_bytes, pair, raw_string, tensor, text_pair

MEGABYTE = 1_000_000
TERABYTE = 10**12


def vocabulary(count: int, text: bytes = b"token") -> bytes:
    return array_pair(b"tokens", ValueType.STRING, count, raw_string(text) * count)


def header(size: int) -> bytes:
    """Return a header of about `size` bytes: texts, numbers and tensors, as those of models."""
    words = size * 6 // 10 // 13
    numbers = size * 3 // 10
    tensors = [tensor(b"t%d" % index, [1], offset=32 * index) for index in range(size // 10 // 45)]
    return gguf_bytes([vocabulary(words), array_pair(b"n", 0, numbers, bytes(numbers))], tensors)


@pytest.mark.parametrize(
    ("size", "most_requests"),
    [(100, 1), (900_000, 1), (1_100_000, 2), (5 * MEGABYTE, 5), (20 * MEGABYTE, 13)],
)
def test_few_bytes_in_few_requests(size: int, most_requests: int) -> None:
    source = MemorySource(header(size), TERABYTE)
    found = read_header(source)
    assert found.data_offset == pytest.approx(size, rel=0.1, abs=100)
    assert source.bytes_read <= 1.1 * found.data_offset + MEGABYTE
    assert len(source.requests) <= most_requests


def test_reading_goes_from_front_to_back() -> None:
    source = MemorySource(header(20 * MEGABYTE), TERABYTE)
    read_header(source)
    expected = 0
    for offset, length in source.requests:
        assert offset == expected
        expected += length


def test_a_source_that_gives_less_than_asked_for() -> None:
    data = header(3 * MEGABYTE)
    source = MemorySource(data, TERABYTE, most_at_once=100_000)
    assert read_header(source).encoded == read_header(MemorySource(data, TERABYTE)).encoded
    assert source.bytes_read <= 1.1 * len(data) + MEGABYTE


@pytest.mark.parametrize("item", [ValueType.UINT8, ValueType.FLOAT64, ValueType.STRING])
def test_a_giant_array_is_refused_without_reading_it(item: ValueType) -> None:
    source = MemorySource(gguf_bytes([array_pair(b"k", item, 2**36, b"")]), 2**50)
    with pytest.raises(InvalidGGUFError, match="header is larger than"):
        read_header(source)
    assert source.bytes_read <= MEGABYTE


def test_a_giant_text_is_refused_without_reading_it() -> None:
    source = MemorySource(gguf_bytes([pair(b"k", ValueType.STRING, raw_string(b"", 2**40))]), 2**50)
    with pytest.raises(InvalidGGUFError, match="bytes long"):
        read_header(source)
    assert source.bytes_read <= MEGABYTE


def test_a_text_that_leads_far_away_is_refused_without_reading_there() -> None:
    texts = raw_string(b"a") + raw_string(b"", 2**40)
    source = MemorySource(gguf_bytes([array_pair(b"k", ValueType.STRING, 3, texts)]), 2**50)
    with pytest.raises(InvalidGGUFError, match="header is larger than"):
        read_header(source)
    assert source.bytes_read <= MEGABYTE


def test_never_more_than_the_limit_is_read() -> None:
    """Many arrays that each fit: the sum is bounded all the same."""
    pairs = [array_pair(b"%d" % index, ValueType.UINT8, 2**20, bytes(2**20)) for index in range(70)]
    source = MemorySource(gguf_bytes(pairs))
    with pytest.raises(InvalidGGUFError, match="header is larger than"):
        read_header(source)
    assert source.bytes_read <= MAX_HEADER_BYTES


def test_texts_across_the_ends_of_what_is_read() -> None:
    """Texts of all lengths, so that some length or text is cut wherever a piece ends."""
    texts = [bytes([index % 251]) * (index % 700) for index in range(12_000)]
    encoded = b"".join(map(raw_string, texts))
    for front in range(0, 40, 3):
        data = gguf_bytes(
            [text_pair(b"front", b"x" * front), array_pair(b"k", ValueType.STRING, len(texts), encoded)]
        )
        found = read_header(MemorySource(data, most_at_once=997_001)).array("k")
        assert found is not None
        assert found.raw_strings() == texts


def test_counts_behind_the_end_of_a_piece() -> None:
    filler = array_pair(b"k", ValueType.UINT8, MEGABYTE, bytes(MEGABYTE))
    for cut in range(60):
        data = gguf_bytes(
            [text_pair(b"a", b"x" * cut), filler, pair(b"n", ValueType.UINT32, struct.pack("<I", 7))]
        )
        assert read_header(MemorySource(data)).integer("n") == 7
