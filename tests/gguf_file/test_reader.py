"""The header reader on good files: values, names and parity with the stock reader; and on near misses.

What is hostile is in test_hostile_*.py.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from localllm.errors import InvalidGGUFError
from localllm.gguf_file import ArrayValue, GGUFHeader, read_header
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import encode_header
from tests.gguf_file.raw import (
    MemorySource,
    array_pair,
    gguf_bytes,
    pair,
    raw_string,
    tensor,
    text_pair,
)
from tests.tiny_gguf import build_tiny_gguf


def parse(data: bytes) -> GGUFHeader:
    return read_header(MemorySource(data))


@pytest.mark.parametrize("missing", [1, 100, 100_000])
def test_a_file_that_ends_inside_its_data_is_refused(missing: int, narrow_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(narrow_gguf.read_bytes()[:-missing])
    with pytest.raises(InvalidGGUFError, match="the file is truncated") as caught:
        read_header(path)
    assert caught.value.hint


def test_a_sparse_file_claiming_giant_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    path.write_bytes(gguf_bytes([array_pair(b"k", ValueType.STRING, 2**33, b"")]))
    os.truncate(path, 2**37)
    with pytest.raises(InvalidGGUFError, match="header is larger than"):
        read_header(path)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"PK\x03\x04" + bytes(60), "PyTorch"),
        (b"ggjt" + bytes(60), "old GGML"),
        (struct.pack("<Q", 60) + b'{"a":' + bytes(60), "safetensors"),
    ],
)
def test_files_passed_by_mistake_are_recognised(data: bytes, hint: str) -> None:
    with pytest.raises(InvalidGGUFError, match="not a GGUF file") as caught:
        parse(data)
    assert hint in (caught.value.hint or "")


def test_a_big_vocabulary_stays_encoded_until_asked_for() -> None:
    texts = [b"token%d" % index for index in range(100_000)]
    encoded = b"".join(map(raw_string, texts))
    header = parse(gguf_bytes([array_pair(b"tokens", ValueType.STRING, len(texts), encoded)]))
    value = header.array("tokens")
    assert isinstance(value, ArrayValue)
    assert len(value) == 100_000
    assert value.decode()[-1] == "token99999"
    assert value.raw_strings() == texts


def test_invalid_utf8_is_marked_and_does_not_fail() -> None:
    header = parse(gguf_bytes([text_pair(b"general.name", b"caf\xe9")]))
    assert header.text("general.name") == "caf\ufffd"


def test_names_that_are_not_utf8_stay_apart() -> None:
    pairs = [text_pair(b"k\xff", b"1"), text_pair(b"k\xfe", b"2"), text_pair("ключ".encode(), b"3")]
    tensors = [tensor(b"t\xff", [8]), tensor(b"t\xfe", [8], offset=32)]
    header = parse(gguf_bytes(pairs, tensors, data_bytes=64))
    assert dict(header.metadata) == {"k\\xff": "1", "k\\xfe": "2", "ключ": "3"}
    assert [tensor.name for tensor in header.tensors] == ["t\\xff", "t\\xfe"]
    assert encode_header(header.encoded, header.tensors)  # which has the escapes as names


def test_names_that_are_shown_alike_are_refused() -> None:
    """An escape of one name can be the text of another."""
    pairs = [text_pair(b"k\xff", b"1"), text_pair(rb"k\xff", b"2")]
    with pytest.raises(InvalidGGUFError, match=r"`k\\xff` appears twice"):
        parse(gguf_bytes(pairs))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"\x1b[31mred", r"`\x1b[31mred`"),
        (b"two\nlines", r"`two\nlines`"),
        ("\u202eevil".encode(), r"`\u202eevil`"),
        (b"n" * 200, f"`{'n' * 60}…`"),
        ("grün".encode(), "`grün`"),
    ],
)
def test_names_are_shown_on_one_short_line(name: bytes, shown: str) -> None:
    with pytest.raises(InvalidGGUFError) as caught:
        parse(gguf_bytes([text_pair(name, b"1"), text_pair(name, b"2")]))
    assert caught.value.message == f"memory: metadata key {shown} appears twice"


def test_metadata_is_a_mapping() -> None:
    header = parse(gguf_bytes([text_pair(b"a", b"1"), pair(b"b", ValueType.UINT8, b"\2")]))
    assert len(header.metadata) == 2
    assert list(header.metadata.items()) == [("a", "1"), ("b", 2)]
    assert header.metadata == {"a": "1", "b": 2}
    assert header.metadata.get("c") is None
    assert "a" in header.metadata


def test_a_giant_text_is_decoded_only_by_who_asks_for_all_of_it() -> None:
    header = parse(gguf_bytes([text_pair(b"k", b"x" * 9_000_000)]))
    assert header.text("k") == ""
    assert header.metadata["k"] == "x" * 9_000_000


def test_typed_access_does_not_confuse_types() -> None:
    header = parse(gguf_bytes([pair(b"flag", ValueType.BOOL, b"\1"), text_pair(b"word", b"7")]))
    assert header.metadata["flag"] is True
    assert header.integer("flag") is None
    assert header.number("flag") is None
    assert header.integer("word") is None
    assert header.text("flag") == ""
    assert header.array("word") is None


def stock_values(path: Path) -> dict[str, Any]:
    """Return the metadata the `gguf` package reads, without the pseudo-fields of the preamble."""
    fields = gguf.GGUFReader(path).fields
    return {name: _plain(field.contents()) for name, field in fields.items() if not name.startswith("GGUF.")}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def our_values(header: GGUFHeader) -> dict[str, Any]:
    return {
        key: value.decode() if isinstance(value, ArrayValue) else value
        for key, value in header.metadata.items()
    }


@pytest.mark.parametrize("vocabulary", ["spm", "bpe"])
@pytest.mark.parametrize("alignment", [None, 64])
def test_the_stock_reader_sees_the_same(vocabulary: str, alignment: int | None, tmp_path: Path) -> None:
    path = build_tiny_gguf(
        tmp_path / "m.gguf", width=64, layers=1, vocabulary=vocabulary, alignment=alignment
    )
    assert_parity(path)


def test_the_stock_reader_sees_the_same_in_real_files(material: Path) -> None:
    paths = (material / "weights" / "gguf-fixtures-gridcore").glob("*.gguf")
    small = sorted(path for path in paths if path.stat().st_size < 500_000)  # the stock reader is slow
    assert small
    for path in small:
        assert_parity(path)


def assert_parity(path: Path) -> None:
    header, stock = read_header(path), gguf.GGUFReader(path)
    assert our_values(header) == stock_values(path)
    assert header.data_offset == stock.data_offset
    assert header.alignment == stock.alignment
    ours = [(t.name, t.shape, t.type.id, header.data_offset + t.offset, t.size_bytes) for t in header.tensors]
    assert ours == [
        (t.name, tuple(np.asarray(t.shape).tolist()), int(t.tensor_type), t.data_offset, t.n_bytes)
        for t in stock.tensors
    ]
