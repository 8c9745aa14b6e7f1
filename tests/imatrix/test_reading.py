"""Reading GGUF importance matrices: llama-quantize's arithmetic, and one line for everything hostile."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.errors import ImportanceMatrixError, NotFoundError
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import array, string, uint32
from localllm.imatrix import checks, read_imatrix
from tests.imatrix.matrices import WEIGHT, floats, imatrix_metadata, write_matrix
from tests.tiny_gguf import raw_tensor


def refusal(path: Path) -> str:
    """Return the message about a file that cannot be used; it is one line and has a hint."""
    with pytest.raises(ImportanceMatrixError) as caught:
        read_imatrix(path)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    return caught.value.message


def test_a_good_file(tmp_path: Path) -> None:
    matrix = read_imatrix(write_matrix(tmp_path / "m.gguf"))
    assert matrix.datasets == ("wiki.txt", "code.txt")
    assert (matrix.chunks, matrix.chunk_size) == (7, 512)
    assert list(matrix.entries) == [WEIGHT]
    assert matrix.entries[WEIGHT].dtype == np.float32
    assert matrix.entries[WEIGHT].tolist() == [[0.5, 2.0, 4.5]]


def test_experts_have_their_own_counts_and_one_never_reached_is_even(tmp_path: Path) -> None:
    sums, counts = [[2.0, 4.0], [0.0, 0.0], [9.0, 3.0]], [[2.0], [0.0], [3.0]]
    matrix = read_imatrix(write_matrix(tmp_path / "m.gguf", sums, counts))
    assert matrix.entries[WEIGHT].tolist() == [[1.0, 2.0], [1.0, 1.0], [3.0, 1.0]]


def test_one_count_for_several_rows(tmp_path: Path) -> None:
    matrix = read_imatrix(write_matrix(tmp_path / "m.gguf", [[2.0, 4.0], [6.0, 8.0]], [[2.0]]))
    assert matrix.entries[WEIGHT].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_several_counts_for_one_long_row(tmp_path: Path) -> None:
    matrix = read_imatrix(write_matrix(tmp_path / "m.gguf", [2.0, 4.0, 6.0, 8.0], [[2.0], [4.0]]))
    assert matrix.entries[WEIGHT].tolist() == [[1.0, 2.0], [1.5, 2.0]]


@pytest.mark.parametrize(("stored", "used"), [(2.5, 3), (2.4999, 2), (0.4, 0), (16_777_217.0, 16_777_216)])
def test_counts_are_rounded_as_c_does(stored: float, used: int, tmp_path: Path) -> None:
    matrix = read_imatrix(write_matrix(tmp_path / "m.gguf", [[6.0]], [[stored]]))
    expected = np.float32(6.0) / np.float32(used) if used else np.float32(1.0)
    assert matrix.entries[WEIGHT][0, 0] == expected


@given(st.floats(0, 2.0**100, width=32), st.integers(1, 2**31))
def test_division_is_in_float32(total: float, count: int) -> None:
    from localllm.imatrix.matrix import mean_squares

    found = mean_squares(np.array([[total]], np.float32), np.array([count]))
    assert found.dtype == np.float32
    assert found[0, 0] == np.float32(total) / np.float32(count)


def test_other_tensors_are_ignored(tmp_path: Path) -> None:
    tensors = {"x.weight.in_sum2": floats([1.0]), "x.weight.counts": floats([1.0]), "more": floats([1.0])}
    assert list(read_imatrix(write_matrix(tmp_path / "m.gguf", tensors=tensors)).entries) == ["x.weight"]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_imatrix(tmp_path / "none.gguf")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ImportanceMatrixError, match="regular file"):
        read_imatrix(tmp_path)


def test_a_model_passed_by_mistake(narrow_gguf: Path) -> None:
    assert "is a model, not an importance matrix" in refusal(narrow_gguf)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"datasets": None}, "imatrix.datasets"),
        ({"chunk_count": None}, "imatrix.chunk_count"),
        ({"chunk_size": None}, "imatrix.chunk_size"),
        ({"datasets": string("wiki.txt")}, "imatrix.datasets"),
        ({"datasets": array(ValueType.INT32, [1])}, "imatrix.datasets"),
        ({"chunk_count": string("7")}, "imatrix.chunk_count"),
    ],
)
def test_metadata_must_be_there(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in refusal(write_matrix(tmp_path / "m.gguf", metadata=imatrix_metadata(**changes)))


SUMS, COUNTS = f"{WEIGHT}.in_sum2", f"{WEIGHT}.counts"


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({SUMS: floats([1.0])}, "no counts"),
        ({COUNTS: floats([1.0])}, "counts but no sums"),
        ({"other": floats([1.0])}, "no entries"),
        ({}, "no entries"),
        ({SUMS: raw_tensor(np.ones(4, np.float32), "F16"), COUNTS: floats([1.0])}, "F16 instead of F32"),
        ({SUMS: floats([1.0]), COUNTS: raw_tensor(np.ones(1, np.float32), "I32")}, "I32 instead of F32"),
        ({SUMS: floats([1.0, np.nan]), COUNTS: floats([1.0])}, "not finite"),
        ({SUMS: floats([1.0, np.inf]), COUNTS: floats([1.0])}, "not finite"),
        ({SUMS: floats([1.0, -1.0]), COUNTS: floats([1.0])}, "negative"),
        ({SUMS: floats([1.0]), COUNTS: floats([np.nan])}, "not finite"),
        ({SUMS: floats([1.0]), COUNTS: floats([-2.0])}, "negative"),
        ({SUMS: floats([1.0]), COUNTS: floats([1e30])}, "impossible count"),
        ({SUMS: floats([1.0, 2.0, 3.0]), COUNTS: floats([1.0, 1.0])}, "3 sums for 2 counts"),
        ({SUMS: floats([1.0]), COUNTS: floats([1.0, 1.0])}, "1 sums for 2 counts"),
        ({SUMS: floats([]), COUNTS: floats([1.0])}, "0 sums"),
        ({SUMS: floats([1.0]), COUNTS: floats([])}, "for 0 counts"),
    ],
)
def test_entries_must_be_whole(tensors: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in refusal(write_matrix(tmp_path / "m.gguf", tensors=tensors))


def test_a_file_cut_anywhere(tmp_path: Path) -> None:
    whole = write_matrix(tmp_path / "whole.gguf", [[1.0] * 24]).read_bytes()
    end = len(whole) - 28  # what follows the one count is padding
    for size in (*range(0, end, 7), end - 1):
        (tmp_path / "cut.gguf").write_bytes(whole[:size])
        refusal(tmp_path / "cut.gguf")


@pytest.mark.parametrize("position", [8, 16])
def test_huge_numbers_of_things(position: int, tmp_path: Path) -> None:
    data = bytearray(write_matrix(tmp_path / "m.gguf").read_bytes())
    data[position : position + 8] = struct.pack("<Q", 2**60)
    (tmp_path / "huge.gguf").write_bytes(data)
    refusal(tmp_path / "huge.gguf")


def test_more_numbers_than_memory_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be mostly holes, so its size on disk is no limit."""
    path = write_matrix(tmp_path / "m.gguf", [[1.0] * 511])
    monkeypatch.setattr(checks, "available_memory_bytes", lambda: 2047)
    assert "its numbers take 2.00 KiB" in refusal(path)


@pytest.mark.parametrize("data", [b"", b"G", b"GGUF", b"not at all what was asked for" * 10, bytes(1000)])
def test_files_of_another_kind(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    refusal(tmp_path / "x")


def test_chunk_counts_of_other_widths_are_accepted(tmp_path: Path) -> None:
    metadata = imatrix_metadata(chunk_count=uint32(2**32 - 1))
    assert read_imatrix(write_matrix(tmp_path / "m.gguf", metadata=metadata)).chunks == 2**32 - 1
