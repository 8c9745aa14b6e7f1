"""The header reader: every handcrafted case of llama.cpp's tests/test-gguf.cpp, damage, hostility, parity.

The case names are theirs; each states the reason we give, or that the file is accepted.
"""

from __future__ import annotations

import os
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from localllm.errors import InvalidGGUFError, NotFoundError
from localllm.gguf_file import ArrayValue, GGUFHeader, read_header
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, ValueType
from localllm.gguf_file.reader import MAX_HEADER_BYTES
from tests.gguf_file.raw import (
    HUGE,
    MemorySource,
    alignment_pair,
    array_pair,
    gguf_bytes,
    pair,
    raw_string,
    tensor,
    text_pair,
)
from tests.tiny_gguf import build_tiny_gguf

I8, F32 = TENSOR_TYPES_BY_NAME["I8"].id, TENSOR_TYPES_BY_NAME["F32"].id
NAME_63, NAME_64 = b"n" * 63, b"n" * 64

REFUSED = {
    "HEADER_BAD_MAGIC": (gguf_bytes(magic=b"FUGG"), "not a GGUF file"),
    "HEADER_BAD_VERSION_0": (gguf_bytes(version=0), "version 0 is not supported"),
    "HEADER_BAD_VERSION_1": (gguf_bytes(version=1), "version 1 is not supported"),
    "HEADER_BAD_VERSION_FUTURE": (gguf_bytes(version=4), "version 4 is not supported"),
    "HEADER_BIG_ENDIAN": (gguf_bytes(version=3 << 24), "big-endian"),
    "HEADER_BAD_N_TENSORS": (gguf_bytes(tensor_count=HUGE), f"claims to hold {HUGE} tensors"),
    "HEADER_BAD_N_KV": (gguf_bytes(pair_count=HUGE), f"claims to hold {HUGE} metadata pairs"),
    "KV_BAD_KEY_SIZE": (gguf_bytes([raw_string(b"", HUGE)], data_bytes=64), "metadata key is .* bytes long"),
    "KV_EMPTY_KEY": (gguf_bytes([text_pair(b"", b"value")]), "metadata key is empty"),
    "KV_BAD_TYPE": (gguf_bytes([pair(b"k", len(ValueType), b"\0" * 8)]), "`k` has unknown type 13"),
    "KV_BAD_TYPE (array)": (gguf_bytes([array_pair(b"k", len(ValueType), 1, b"\0" * 8)]), "unknown type 13"),
    "KV_BAD_VALUE_SIZE": (
        gguf_bytes([pair(b"k", ValueType.STRING, raw_string(b"", HUGE))]),
        "value of `k` is .* bytes long",
    ),
    "KV_BAD_ARRAY_SIZE": (
        gguf_bytes([array_pair(b"k", ValueType.UINT8, HUGE, b"")]),
        "truncated inside the array `k`",
    ),
    "KV_BAD_STRING_ARRAY_SIZE": (
        gguf_bytes([array_pair(b"k", ValueType.STRING, 2**63, b"")]),
        "truncated inside the array `k`",
    ),
    "KV_BAD_STRING_IN_ARRAY": (
        gguf_bytes([array_pair(b"k", ValueType.STRING, 1, raw_string(b"", HUGE))], data_bytes=64),
        "truncated inside the array `k`",
    ),
    "KV_NESTED_ARRAY": (
        gguf_bytes([array_pair(b"k", ValueType.ARRAY, 1, struct.pack("<IQ", 0, 0))]),
        "nested arrays",
    ),
    "KV_DUPLICATE_KEY": (gguf_bytes([text_pair(b"k", b"1"), text_pair(b"k", b"2")]), "`k` appears twice"),
    "KV_BAD_ALIGN": (gguf_bytes([alignment_pair(13)]), "13, not a power of two"),
    "KV_ZERO_ALIGN": (gguf_bytes([alignment_pair(0)]), "0, not a power of two"),
    "KV_HUGE_ALIGN": (gguf_bytes([alignment_pair(2**31)]), f"{2**31}, not a power of two up to"),
    "KV_WRONG_TYPE_ALIGN": (
        gguf_bytes([pair(b"general.alignment", ValueType.INT32, struct.pack("<i", 32))]),
        "not an unsigned number",
    ),
    "TENSORS_BAD_NAME_SIZE": (gguf_bytes(tensors=[tensor(NAME_64, [1])], data_bytes=4), "64 bytes long"),
    "TENSORS_BAD_N_DIMS": (gguf_bytes(tensors=[tensor(b"t", [1] * 5)], data_bytes=4), "5 dimensions"),
    "TENSORS_NO_DIMS": (gguf_bytes(tensors=[tensor(b"t", [])], data_bytes=4), "0 dimensions"),
    "TENSORS_BAD_SHAPE": (gguf_bytes(tensors=[tensor(b"t", [-1])], data_bytes=4), "impossible shape"),
    "TENSORS_NE_TOO_BIG": (gguf_bytes(tensors=[tensor(b"t", [2**32, 2**31])]), "impossible shape"),
    "TENSORS_NBYTES_TOO_BIG": (gguf_bytes(tensors=[tensor(b"t", [2**31, 2**31])]), "truncated"),
    "TENSORS_NBYTES_PAD_WRAP": (gguf_bytes(tensors=[tensor(b"t", [2**62 - 4, 1])]), "truncated"),
    "TENSORS_BAD_TYPE": (gguf_bytes(tensors=[tensor(b"t", [1], kind=43)]), "unknown type 43"),
    "TENSORS_REMOVED_TYPE": (gguf_bytes(tensors=[tensor(b"t", [32], kind=4)]), "unknown type 4"),
    "TENSORS_BAD_ROW": (
        gguf_bytes(tensors=[tensor(b"t", [33], kind=TENSOR_TYPES_BY_NAME["Q8_0"].id)], data_bytes=68),
        "not a multiple of Q8_0's 32",
    ),
    "TENSORS_BAD_OFFSET": (gguf_bytes(tensors=[tensor(b"t", [1], offset=-1)], data_bytes=4), "at offset"),
    "TENSORS_DUPLICATE_NAME": (
        gguf_bytes(tensors=[tensor(b"t", [1]), tensor(b"t", [1], offset=32)], data_bytes=64),
        "tensor `t` appears twice",
    ),
    "TENSORS_BAD_ALIGN": (
        gguf_bytes([alignment_pair(13)], [tensor(b"t", [1])], data_bytes=32),
        "not a power of two",
    ),
    "TENSORS_INCONSISTENT_ALIGN": (
        gguf_bytes(tensors=[tensor(b"a", [1]), tensor(b"b", [1], offset=4)], data_bytes=64),
        "at offset 4 instead of 32",
    ),
    "DATA_NOT_ENOUGH_DATA": (gguf_bytes(tensors=[tensor(b"t", [8])], data_bytes=31), "truncated: tensor `t`"),
    "DATA_MEM_SIZE_OVERFLOW": (
        gguf_bytes(
            tensors=[tensor(b"a", [2**63 - 64], I8), tensor(b"b", [2**63 - 64], I8, offset=2**63 - 64)],
            data_bytes=32,
        ),
        "truncated: tensor `a`",
    ),
}

ACCEPTED = {
    "HEADER_EMPTY": gguf_bytes(),
    "HEADER_VERSION_2": gguf_bytes(version=2),
    "KV_SUCCESS": gguf_bytes([text_pair(b"general.architecture", b"llama")]),
    "KV_CUSTOM_ALIGN": gguf_bytes([alignment_pair(8)], alignment=8),
    "TENSORS_LONGEST_NAME": gguf_bytes(tensors=[tensor(NAME_63, [1])], data_bytes=4),
    "TENSORS_ZERO_DIM": gguf_bytes(tensors=[tensor(b"t", [0, 4])]),
    "TENSORS_SUCCESS": gguf_bytes(tensors=[tensor(b"a", [1]), tensor(b"b", [8], offset=32)], data_bytes=64),
    "TENSORS_CUSTOM_ALIGN": gguf_bytes(
        [alignment_pair(4)], [tensor(b"a", [1]), tensor(b"b", [1], offset=4)], data_bytes=8, alignment=4
    ),
    "DATA_WITHOUT_LAST_PADDING": gguf_bytes(tensors=[tensor(b"t", [9])], data_bytes=36),
    "DATA_WITH_MORE_BEHIND": gguf_bytes(tensors=[tensor(b"t", [8])], data_bytes=100),
}

# what is wrong with the files of the material's fuzzing corpus; None: they are valid
MALFORMED: dict[str, str | None] = {
    "bad-version.bin": "version",
    "hdr-suppress-eos.gguf": "truncated",
    "hdr-wrap-first-offset.gguf": "offset|truncated",
    "hdr-zero-first-dim.gguf": "offset|truncated|multiple",
    "huge-counts.bin": "claims to hold",
    "kv-arr-huge-n.bin": "truncated inside the array",
    "kv-huge-strlen.bin": "bytes long|truncated",
    "magic-only.bin": "truncated inside its first 24 bytes",
    "tensor-huge-dims.bin": "impossible shape|truncated",
    "trunc-magic.bin": "truncated inside its first 24 bytes",
    "v3-empty.bin": None,
    "valid-small.gguf": None,
}


def parse(data: bytes) -> GGUFHeader:
    return read_header(MemorySource(data))


@pytest.fixture(scope="module")
def header_bytes(narrow_gguf: Path) -> bytes:
    """The header of a valid model, without data."""
    return narrow_gguf.read_bytes()[: read_header(narrow_gguf).data_offset]


@pytest.mark.parametrize("name", REFUSED)
def test_handcrafted_damage_is_refused(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(InvalidGGUFError, match=reason) as caught:
        parse(data)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ACCEPTED)
def test_handcrafted_files_are_accepted(name: str) -> None:
    header = parse(ACCEPTED[name])
    assert header.data_offset <= len(ACCEPTED[name])


@pytest.mark.parametrize("name", MALFORMED)
def test_a_foreign_fuzzing_corpus(name: str, material: Path) -> None:
    path, reason = material / "weights" / "gguf-malformed-gridcore" / name, MALFORMED[name]
    if reason is None:
        assert read_header(path).version == 3
        return
    with pytest.raises(InvalidGGUFError, match=reason):
        read_header(path)


def test_every_truncation_of_a_header_is_refused(header_bytes: bytes) -> None:
    total = read_header(MemorySource(header_bytes, 10**9)).data_offset
    for length in (*range(200), *range(200, total, 97), total - 1):
        with pytest.raises(InvalidGGUFError, match=r"truncated|empty|claims to hold"):
            parse(header_bytes[:length])


@pytest.mark.parametrize("missing", [1, 100, 100_000])
def test_a_file_that_ends_inside_its_data_is_refused(missing: int, narrow_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(narrow_gguf.read_bytes()[:-missing])
    with pytest.raises(InvalidGGUFError, match="the file is truncated") as caught:
        read_header(path)
    assert caught.value.hint


def mutations(data: bytes, count: int) -> Iterator[bytes]:
    """Yield `count` copies with one to four bytes changed, seeded; small changes as likely as wild ones."""
    generator = random.Random(20261124)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(generator.randint(1, 4)):
            position = generator.randrange(len(changed))
            new = (0, 1, 0xFF, changed[position] ^ 1, generator.randrange(256))
            changed[position] = generator.choice(new)
        yield bytes(changed)


def test_random_damage_raises_nothing_else(header_bytes: bytes) -> None:
    refused = 0
    for data in mutations(header_bytes, 2000):
        try:
            read_header(MemorySource(data, 300_000))
        except InvalidGGUFError:
            refused += 1
    assert 100 < refused < 1900


@pytest.mark.parametrize("item", [ValueType.UINT8, ValueType.FLOAT64, ValueType.STRING])
def test_a_giant_array_is_refused_without_reading_it(item: ValueType) -> None:
    data = gguf_bytes([array_pair(b"k", item, 2**36, b"")])
    source = MemorySource(data, 2**50)
    with pytest.raises(InvalidGGUFError, match="header is larger than"):
        read_header(source)
    assert source.bytes_read <= 2 * 1024 * 1024


def test_a_giant_text_is_refused_without_reading_it() -> None:
    source = MemorySource(gguf_bytes([pair(b"k", ValueType.STRING, raw_string(b"", 2**40))]), 2**50)
    with pytest.raises(InvalidGGUFError, match="bytes long"):
        read_header(source)
    assert source.bytes_read <= 2 * 1024 * 1024


def test_never_more_than_the_limit_is_read() -> None:
    """Many arrays that each fit: the sum is bounded all the same."""
    pairs = [array_pair(b"%d" % index, ValueType.UINT8, 2**20, bytes(2**20)) for index in range(70)]
    source = MemorySource(gguf_bytes(pairs))
    with pytest.raises(InvalidGGUFError, match="header is larger than"):
        read_header(source)
    assert source.bytes_read <= MAX_HEADER_BYTES + 2**20


def test_a_sparse_file_claiming_giant_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    path.write_bytes(gguf_bytes([array_pair(b"k", ValueType.STRING, 2**33, b"")]))
    os.truncate(path, 2**37)
    with pytest.raises(InvalidGGUFError, match="header is larger than"):
        read_header(path)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        read_header(tmp_path / "missing.gguf")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidGGUFError, match=r"cannot read|not a regular file"):
        read_header(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in the file system")
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    with pytest.raises(InvalidGGUFError, match="not a regular file"):
        read_header(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero")
def test_a_device_is_refused() -> None:
    with pytest.raises(InvalidGGUFError, match="not a regular file"):
        read_header(Path("/dev/zero"))


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
