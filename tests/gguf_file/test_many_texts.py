"""A vocabulary of hundreds of thousands is encoded at once: the bytes are those of one text after another."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import array, encode_header

_COUNT = 5000  # enough to be many
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def encoded_one_by_one(texts: Sequence[str]) -> bytes:
    return b"".join(len(text.encode()).to_bytes(8, "little") + text.encode() for text in texts)


def encoded(texts: Sequence[str]) -> bytes:
    """Return the items of the array as a header has them."""
    header = encode_header({"key": array(ValueType.STRING, texts)}, [])
    begin = header.index(b"key") + 3 + 16
    return header[begin : begin + len(encoded_one_by_one(texts))]


@given(some=st.lists(_TEXTS, min_size=1, max_size=30))
def test_many_texts(some: list[str]) -> None:
    texts = some * (_COUNT // len(some) + 1)
    assert encoded(texts) == encoded_one_by_one(texts)


@pytest.mark.parametrize("first", ["", "\0", "a\0b", "\0\0", "é\0", "x" * 70_000])
def test_texts_of_their_own_kind_among_many(first: str) -> None:
    texts = [first, *["common"] * _COUNT, first]
    assert encoded(texts) == encoded_one_by_one(texts)
