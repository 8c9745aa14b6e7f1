"""Reading importance matrices in the format before GGUF."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from localllm.errors import ImportanceMatrixError
from localllm.imatrix import ImportanceMatrix, checks, read_imatrix
from tests.imatrix.matrices import legacy_entry, legacy_file

Q, K = "blk.0.attn_q.weight", "blk.0.attn_k.weight"


def read(data: bytes, directory: Path) -> ImportanceMatrix:
    path = directory / "imatrix.dat"
    path.write_bytes(data)
    return read_imatrix(path)


def refusal(data: bytes, directory: Path) -> str:
    with pytest.raises(ImportanceMatrixError) as caught:
        read(data, directory)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value.message


def test_values_are_divided_by_calls(tmp_path: Path) -> None:
    matrix = read(legacy_file({Q: (3, [3.0, 1.0]), K: (1, [5.0, 7.0, 9.0])}), tmp_path)
    assert matrix.entries[Q].tolist() == [[1.0, float(np.float32(1) / np.float32(3))]]
    assert matrix.entries[K].tolist() == [[5.0, 7.0, 9.0]]
    assert matrix.entries[Q].dtype == np.float32
    assert (matrix.datasets, matrix.chunks, matrix.chunk_size) == (("wiki.txt",), 3, 0)


@pytest.mark.parametrize("calls", [0, -4])
def test_without_calls_values_stay(calls: int, tmp_path: Path) -> None:
    assert read(legacy_file({Q: (calls, [3.0])}), tmp_path).entries[Q].tolist() == [[3.0]]


def test_an_older_file_ends_behind_the_entries(tmp_path: Path) -> None:
    matrix = read(legacy_file({Q: (1, [3.0])}, chunks=None), tmp_path)
    assert (matrix.datasets, matrix.chunks) == ((), 0)


def test_a_file_without_dataset(tmp_path: Path) -> None:
    assert read(legacy_file({Q: (1, [3.0])}, dataset=""), tmp_path).datasets == ()


def test_a_file_cut_anywhere(tmp_path: Path) -> None:
    entries = {Q: (2, [1.0, 2.0]), K: (2, [3.0])}
    whole, older = legacy_file(entries), len(legacy_file(entries, chunks=None))
    for size in set(range(len(whole))) - {older}:
        refusal(whole[:size], tmp_path)


@pytest.mark.parametrize("entries", [0, -1, 2**31 - 1, -(2**31)])
def test_impossible_numbers_of_entries(entries: int, tmp_path: Path) -> None:
    data = struct.pack("<i", entries) + legacy_entry(Q, 1, [1.0])
    assert "no importance matrix" in refusal(data, tmp_path)


@pytest.mark.parametrize("length", [-1, 0, 64, 2**31 - 1])
def test_impossible_lengths_of_names(length: int, tmp_path: Path) -> None:
    data = struct.pack("<ii", 1, length) + b"x" * 200
    assert "name" in refusal(data, tmp_path)


@pytest.mark.parametrize("count", [0, -1, 2**31 - 1, -(2**31)])
def test_impossible_numbers_of_values(count: int, tmp_path: Path) -> None:
    data = struct.pack("<ii", 1, 1) + b"x" + struct.pack("<ii", 1, count) + bytes(64)
    assert "`x`" in refusal(data, tmp_path)


@pytest.mark.parametrize("length", [-1, 2**31 - 1, 5])
def test_impossible_lengths_of_the_dataset(length: int, tmp_path: Path) -> None:
    data = legacy_file({Q: (1, [1.0])}, chunks=None) + struct.pack("<ii", 3, length) + b"four"
    assert "dataset" in refusal(data, tmp_path)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "finite"), (np.inf, "finite"), (-1.0, "negative")])
def test_impossible_values(value: float, said: str, tmp_path: Path) -> None:
    assert said in refusal(legacy_file({Q: (1, [1.0, value])}), tmp_path)


@pytest.mark.parametrize("name", [b"bad\x00name", b"bad\nname", b"bad\x1b[2Jname"])
def test_names_with_control_characters(name: bytes, tmp_path: Path) -> None:
    assert "readable name" in refusal(struct.pack("<i", 1) + legacy_entry(name, 1, [1.0]), tmp_path)


def test_a_name_that_appears_twice(tmp_path: Path) -> None:
    data = struct.pack("<i", 2) + legacy_entry(Q, 1, [1.0]) + legacy_entry(Q, 1, [2.0])
    assert "twice" in refusal(data, tmp_path)


def test_more_numbers_than_memory_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "available_memory_bytes", lambda: 2047)
    assert "its numbers take" in refusal(legacy_file({Q: (1, [1.0] * 511)}), tmp_path)
