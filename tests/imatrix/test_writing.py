"""Writing importance matrices: llama-imatrix's bytes, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from localllm.errors import ImportanceMatrixError
from localllm.gguf_file import read_header
from localllm.imatrix import read_imatrix
from localllm.imatrix.writing import write_imatrix
from localllm.native.activations import InputSums


def inputs(sums: object, counts: object) -> InputSums:
    return InputSums(np.array(sums, np.float64), np.array(counts, np.int64))


def test_the_layout_is_llama_imatrix_s(tmp_path: Path) -> None:
    """Read off a file of llama-imatrix; scripts/check_imatrix.py compares whole files."""
    path = tmp_path / "m.gguf"
    found = {
        "blk.10.attn_q.weight": inputs([[1.0, 2.0]], [4]),
        "blk.1.ffn_up_exps.weight": inputs([[1.0, 2.0], [3.0, 4.0]], [1, 0]),
        "blk.1.attn_k_b.weight": inputs([[1.0, 2.0], [3.0, 4.0]], [8]),
    }
    write_imatrix(path, found, datasets=["a.txt"], chunks=3, chunk_size=512)
    header = read_header(path)
    assert list(header.metadata) == [
        "general.type",
        "imatrix.datasets",
        "imatrix.chunk_count",
        "imatrix.chunk_size",
    ]
    assert [(tensor.name, tensor.shape) for tensor in header.tensors] == [
        ("blk.1.attn_k_b.weight.in_sum2", (4,)),
        ("blk.1.attn_k_b.weight.counts", (1,)),
        ("blk.1.ffn_up_exps.weight.in_sum2", (2, 2)),
        ("blk.1.ffn_up_exps.weight.counts", (1, 2)),
        ("blk.10.attn_q.weight.in_sum2", (2,)),
        ("blk.10.attn_q.weight.counts", (1,)),
    ]


@given(
    st.dictionaries(
        st.text("abc._0123456789", min_size=1, max_size=40),
        st.tuples(st.integers(1, 4), st.integers(1, 5), st.data()),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=3),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    shapes: dict[str, tuple[int, int, st.DataObject]],
    datasets: list[str],
    chunks: int,
    size: int,
) -> None:
    path = tmp_path_factory.mktemp("round") / "m.gguf"
    sums = st.floats(0, 2.0**100, width=32)
    made = {
        name: InputSums(
            data.draw(arrays.arrays(np.float64, (matrices, columns), elements=sums)),
            data.draw(arrays.arrays(np.int64, (matrices,), elements=st.integers(0, 2**24))),
        )
        for name, (matrices, columns, data) in shapes.items()
    }
    write_imatrix(path, made, datasets=datasets, chunks=chunks, chunk_size=size)
    matrix = read_imatrix(path)
    assert (matrix.datasets, matrix.chunks, matrix.chunk_size) == (tuple(datasets), chunks, size)
    assert matrix.entries.keys() == made.keys()
    for name, entry in made.items():
        counts = entry.counts[:, None].astype(np.float32)
        expected = np.where(counts > 0, entry.sums.astype(np.float32) / np.maximum(counts, 1), 1)
        assert np.array_equal(matrix.entries[name], expected)


def test_a_name_without_room_for_the_suffix(tmp_path: Path) -> None:
    with pytest.raises(ImportanceMatrixError, match="too long"):
        write_imatrix(
            tmp_path / "m.gguf", {"x" * 56: inputs([[1.0]], [1])}, datasets=[], chunks=1, chunk_size=1
        )
