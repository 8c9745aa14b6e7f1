"""Damaged headers, one by one: refused in little memory with their reason, or accepted as by ggml."""

from __future__ import annotations

import ctypes
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from localllm.errors import InvalidGGUFError
from localllm.events import Emit
from localllm.gguf_file import GGUFHeader, read_header
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, ValueType
from localllm.native.library import ggml
from localllm.native.worker import run_job
from tests.gguf_file.handcrafted import CASES, handcrafted
from tests.gguf_file.raw import (
    MemorySource,
    alignment_pair,
    array_pair,
    gguf_bytes,
    raw_string,
    tensor,
    text_pair,
)

MOST_MEMORY = 100_000_000
SEEDS = range(5)
NAME_63, NAME_64 = b"n" * 63, b"n" * 64
Q8_0 = TENSOR_TYPES_BY_NAME["Q8_0"].id

# what test-gguf.cpp leaves out
REFUSED = {
    "magic in small letters": (gguf_bytes(magic=b"gguf"), "not a GGUF file"),
    "header of zeros": (bytes(4096), "not a GGUF file"),
    "big-endian": (gguf_bytes(version=3 << 24), "big-endian"),
    "more pairs than a file can hold": (gguf_bytes(pair_count=100), "claims to hold 100 metadata pairs"),
    "more tensors than a file can hold": (gguf_bytes(tensor_count=100), "claims to hold 100 tensors"),
    "fewer pairs than claimed": (
        gguf_bytes([text_pair(b"k", b"v")], pair_count=2, data_bytes=64),
        "a metadata key is empty",
    ),
    "long key": (
        gguf_bytes([text_pair(b"k" * 1025, b"v")]),
        "a metadata key is 1025 bytes long, more than 1024",
    ),
    "key with a zero byte": (gguf_bytes([text_pair(b"k\0x", b"v")]), "a metadata key has a zero byte"),
    "unknown type of an array's items": (
        gguf_bytes([array_pair(b"k", len(ValueType), 1, b"\0" * 8)]),
        "`k` has unknown type 13",
    ),
    "nested array": (
        gguf_bytes([array_pair(b"k", ValueType.ARRAY, 1, struct.pack("<IQ", 0, 0))]),
        "nested arrays",
    ),
    "array of 2^64 - 1 numbers": (
        gguf_bytes([array_pair(b"k", ValueType.UINT8, 2**64 - 1, b"")]),
        "truncated inside the array `k`",
    ),
    "array of 2^63 texts": (
        gguf_bytes([array_pair(b"k", ValueType.STRING, 2**63, b"")]),
        "truncated inside the array `k`",
    ),
    "array of three million texts": (
        gguf_bytes([array_pair(b"k", ValueType.STRING, 3_000_000, bytes(8 * 3_000_000))]),
        "the array `k` claims to hold 3000000 texts",
    ),
    "text of 2^64 - 1 bytes in an array": (
        gguf_bytes([array_pair(b"k", ValueType.STRING, 2, raw_string(b"", 2**64 - 1))], data_bytes=64),
        "truncated inside the array `k`",
    ),
    "last text of an array beyond the end": (
        gguf_bytes([array_pair(b"k", ValueType.STRING, 1, raw_string(b"ab", 4000))], data_bytes=64),
        "truncated inside the array `k`",
    ),
    "alignment 0": (gguf_bytes([alignment_pair(0)]), "0, not a power of two"),
    "alignment 2^31": (gguf_bytes([alignment_pair(2**31)]), f"{2**31}, not a power of two up to"),
    "alignment as a list": (
        gguf_bytes([array_pair(b"general.alignment", ValueType.UINT32, 1, struct.pack("<I", 32))]),
        "not an unsigned number",
    ),
    "tensor name with a zero byte": (
        gguf_bytes(tensors=[tensor(b"a\0b", [1])], data_bytes=4),
        "a tensor name has a zero byte",
    ),
    "tensor without dimensions": (gguf_bytes(tensors=[tensor(b"t", [])], data_bytes=4), "0 dimensions"),
    "tensor with 2^32 - 1 dimensions": (
        gguf_bytes(tensors=[raw_string(b"t") + struct.pack("<I", 2**32 - 1) + bytes(64)]),
        "4294967295 dimensions",
    ),
    "tensor of a type that is gone": (
        gguf_bytes(tensors=[tensor(b"t", [32], kind=4)], data_bytes=64),
        "unknown type 4",
    ),
    "rows that are no whole blocks": (
        gguf_bytes(tensors=[tensor(b"t", [33], kind=Q8_0)], data_bytes=68),
        "not a multiple of Q8_0's 32",
    ),
    "data that ends one byte early": (
        gguf_bytes(tensors=[tensor(b"t", [8])], data_bytes=31),
        "truncated: tensor `t`",
    ),
}

ACCEPTED = {
    "version 2": gguf_bytes(version=2),
    "alignment 8": gguf_bytes([alignment_pair(8)], alignment=8),
    "longest key": gguf_bytes([text_pair(b"k" * 1024, b"v")]),
    "longest tensor name": gguf_bytes(tensors=[tensor(NAME_63, [1])], data_bytes=4),
    "no last padding": gguf_bytes(tensors=[tensor(b"t", [9])], data_bytes=36),
    "more behind the data": gguf_bytes(tensors=[tensor(b"t", [8])], data_bytes=100),
    "empty lists": gguf_bytes([array_pair(b"k", ValueType.STRING, 0, b"")]),
    "two invalid keys": gguf_bytes([text_pair(b"\xff", b"1"), text_pair(b"\xfe", b"2")]),
}

# what is wrong with the files of the material's fuzzing corpus; None: they are valid
MALFORMED: dict[str, str | None] = {
    "bad-version.bin": "version 1 is not supported",
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


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail when what happens inside takes more memory than promised."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


def assert_refused(source: Path | MemorySource, reason: str) -> None:
    """Expect an error of one line, with a hint, whose message matches `reason`."""
    with little_memory(), pytest.raises(InvalidGGUFError, match=reason) as caught:
        read_header(source)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
    assert caught.value.hint


def acceptance(source: Path | MemorySource) -> GGUFHeader:
    with little_memory():
        return read_header(source)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CASES)
def test_the_cases_of_test_gguf(name: str, seed: int) -> None:
    reason, source = CASES[name], MemorySource(handcrafted(name, seed))
    if reason is None:
        assert acceptance(source).data_offset <= source.size_bytes
        return
    assert_refused(source, reason)


@pytest.mark.parametrize("name", REFUSED)
def test_other_damage_is_refused(name: str) -> None:
    data, reason = REFUSED[name]
    assert_refused(MemorySource(data), reason)


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_odd_but_valid_is_accepted(name: str) -> None:
    assert acceptance(MemorySource(ACCEPTED[name])).data_offset <= len(ACCEPTED[name])


@pytest.mark.parametrize("name", MALFORMED)
def test_a_foreign_fuzzing_corpus(name: str, material: Path) -> None:
    path, reason = material / "weights" / "gguf-malformed-gridcore" / name, MALFORMED[name]
    if reason is None:
        assert acceptance(path).version == 3
        return
    assert_refused(path, reason)


def test_no_malformed_file_of_the_material_is_left_out(material: Path) -> None:
    names = {path.name for path in (material / "weights" / "gguf-malformed-gridcore").iterdir()}
    assert names - {"SOURCE.txt"} == MALFORMED.keys()


# ggml's own reader ------------------------------------------------------------------------------


class _InitParams(ctypes.Structure):
    """struct gguf_init_params"""

    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


def ggml_verdicts_job(arguments: dict[str, Any], emit: Emit) -> list[bool]:
    """Tell for each file whether ggml's reader accepts it; runs in a child."""
    library = ggml()
    library.gguf_init_from_file.restype = ctypes.c_void_p
    library.gguf_init_from_file.argtypes = [ctypes.c_char_p, _InitParams]
    library.gguf_free.argtypes = [ctypes.c_void_p]
    verdicts = []
    for path in arguments["paths"]:
        context = library.gguf_init_from_file(path.encode(), _InitParams(True, None))
        verdicts.append(context is not None)
        if context is not None:
            library.gguf_free(context)
    return verdicts


def ggml_verdicts(files: dict[str, bytes], folder: Path) -> dict[str, bool]:
    paths = [folder / f"{index}.gguf" for index in range(len(files))]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    arguments = {"paths": list(map(str, paths))}
    verdicts = run_job("tests.gguf_file.test_hostile_cases:ggml_verdicts_job", arguments)
    return dict(zip(files, verdicts, strict=True))


def test_ggml_decides_alike(tmp_path: Path) -> None:
    """Whether there is data enough it only looks at when it reads the data."""
    of_data = ("DATA_NOT_ENOUGH_DATA", "DATA_MEM_SIZE_OVERFLOW")
    cases = {name: handcrafted(name, seed=0) for name in CASES if name not in of_data}
    expected = {name: reason is None for name, reason in CASES.items() if name in cases}
    assert ggml_verdicts(cases, tmp_path) == expected


def test_what_we_accept_ggml_accepts(tmp_path: Path) -> None:
    assert ggml_verdicts(ACCEPTED, tmp_path) == dict.fromkeys(ACCEPTED, True)
