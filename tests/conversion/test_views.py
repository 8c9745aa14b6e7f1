"""Fused tensors seen as others: the rows are the right ones, whatever piece of them is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from localllm.checkpoint import Tensor
from localllm.conversion.config import ModelConfig
from localllm.conversion.mxfp4_views import mxfp4, mxfp4_experts, mxfp4_scales, pack_mxfp4
from localllm.conversion.views import (
    ViewTensor,
    every,
    every_column,
    experts_of_columns,
    interleaved_biases,
    keys_and_values,
    part,
    rows_of_each,
    transposed,
    turned,
)
from localllm.errors import CheckpointError

# what the sixteen codes of four bits stand for (OCP Microscaling Formats 1.0, E2M1)
VALUES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)

NONE = ModelConfig({})


def tensor_of(values: NDArray[Any], dtype: str = "BF16", name: str = "t") -> Tensor:
    rows = values.reshape(-1, values.shape[-1])
    return ViewTensor(name, dtype, values.shape, lambda first, count: rows[first : first + count])


def numbered(*shape: int) -> NDArray[np.uint16]:
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


SEEN: list[tuple[Callable[[Tensor], Tensor], Callable[[NDArray[Any]], NDArray[Any]]]] = [
    (transposed, lambda values: values.swapaxes(-1, -2)),
    (lambda tensor: every(tensor, 2, 0), lambda values: values[..., 0::2, :]),
    (lambda tensor: every(tensor, 2, 1), lambda values: values[..., 1::2, :]),
    (lambda tensor: every_column(tensor, 2, 1), lambda values: values[..., 1::2]),
    (lambda tensor: rows_of_each(tensor, 1, tensor.shape[-2] - 1), lambda values: values[..., 1:, :]),
    (lambda tensor: part(tensor, 2, 0), lambda values: values[..., : values.shape[-2] // 2, :]),
    (lambda tensor: part(tensor, 2, 1), lambda values: values[..., values.shape[-2] // 2 :, :]),
]


@given(
    st.sampled_from(SEEN),
    st.sampled_from([(4, 6), (3, 4, 2), (2, 2, 8), (1, 6, 6)]),
    st.integers(1, 7),
)
def test_any_piece_of_what_is_seen(case: Any, shape: tuple[int, ...], rows: int) -> None:
    view, expected = case
    values = numbered(*shape)
    seen, wanted = view(tensor_of(values)), expected(values)
    assert (seen.dtype, seen.shape) == ("BF16", wanted.shape)
    made = [seen.read_rows(at, min(rows, seen.rows - at)) for at in range(0, seen.rows, rows)]
    assert np.array_equal(np.concatenate(made).reshape(seen.shape), wanted)


@given(st.integers(1, 5))
def test_transposing_twice_changes_nothing(rows: int) -> None:
    values = numbered(3, rows, 4)
    assert np.array_equal(transposed(transposed(tensor_of(values))).read_array(), values)


def test_even_and_odd_rows_are_all_rows() -> None:
    values = numbered(2, 6, 3)
    halves = [every(tensor_of(values), 2, start).read_array() for start in (0, 1)]
    assert np.array_equal(np.stack(halves, axis=2).reshape(values.shape), values)


def test_a_matrix_is_read_once() -> None:
    values, reads = numbered(2, 4, 6), []

    def read(first: int, count: int) -> NDArray[Any]:
        reads.append((first, count))
        return values.reshape(-1, 6)[first : first + count]

    seen = transposed(ViewTensor("t", "BF16", values.shape, read))
    for row in range(seen.rows):
        seen.read_rows(row, 1)
    assert reads == [(0, 4), (4, 4)]


@pytest.mark.parametrize("interleaved", [False, True])
def test_experts_whose_columns_are_two_projections(interleaved: bool) -> None:
    gate, up = numbered(2, 3, 5), 100 + numbered(2, 3, 5)
    fused = np.stack([gate, up], axis=1 if not interleaved else 2)
    columns = fused.reshape(2, 6, 5).swapaxes(-1, -2)
    seen = dict(experts_of_columns("gate", "up", interleaved=interleaved)(tensor_of(columns), {}, NONE))
    assert np.array_equal(seen["gate"].read_array(), gate)
    assert np.array_equal(seen["up"].read_array(), up)


def test_matrices_and_biases() -> None:
    assert np.array_equal(dict(turned("x")(tensor_of(numbered(1, 2, 3)), {}, NONE))["x"].shape, (1, 3, 2))
    biases = dict(interleaved_biases("gate", "up")(tensor_of(numbered(2, 4)), {}, NONE))
    assert biases["gate"].read_array().tolist() == [[0, 2], [4, 6]]
    assert biases["up"].read_array().tolist() == [[1, 3], [5, 7]]


def test_keys_and_values_of_two_heads_by_hand() -> None:
    """Rows k0 k0 v0, k1 k1 v1; a head's keys become a matrix with a row for each of their columns."""
    rows = np.array([[1, 2, 3], [4, 5, 6], [70, 80, 90], [11, 12, 13], [14, 15, 16], [71, 81, 91]], np.uint16)
    view = keys_and_values("k", "v", lambda _: 2, lambda _: 1)
    seen = dict(view(tensor_of(rows), {}, NONE))
    assert (seen["k"].shape, seen["v"].shape) == ((2, 3, 2), (2, 1, 3))
    assert seen["k"].read_array().tolist() == [[[1, 4], [2, 5], [3, 6]], [[11, 14], [12, 15], [13, 16]]]
    assert seen["v"].read_array().tolist() == [[[70, 80, 90]], [[71, 81, 91]]]
    assert seen["k"].read_rows(2, 2).tolist() == [[3, 6], [11, 14]]  # across heads


def test_of_keys_one_head_is_held_and_no_value_read() -> None:
    reads: list[tuple[int, int]] = []

    def read(first: int, count: int) -> NDArray[Any]:
        reads.append((first, count))
        return numbered(12, 3)[first : first + count]

    rows = ViewTensor("kv", "BF16", (12, 3), read)
    keys = dict(keys_and_values("k", "v", lambda _: 4, lambda _: 2)(rows, {}, NONE))["k"]
    for row in range(keys.rows):
        keys.read_rows(row, 1)
    assert reads == [(0, 4), (6, 4)]


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_keys_and_values_make_the_rows_again(heads: int, keys: int, values: int, columns: int) -> None:
    rows = numbered(heads * (keys + values), columns)
    seen = dict(keys_and_values("k", "v", lambda _: keys, lambda _: values)(tensor_of(rows), {}, NONE))
    parts = [seen["k"].read_array().swapaxes(1, 2), seen["v"].read_array()]
    assert np.array_equal(np.concatenate(parts, axis=1).reshape(rows.shape), rows)


def unpacked(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.MXFP4)


def test_a_block_by_hand() -> None:
    codes = np.arange(16, dtype=np.uint8)[None] | np.uint8(0x50)  # weights 2i: i, weights 2i + 1: 5
    packed = pack_mxfp4(codes, np.array([127], np.uint8))
    assert packed.shape == (1, 17)
    assert packed[0, :3].tolist() == [127, 0x80, 0x55]  # weights 0 and 16: 0 and 8; 1 and 17: 5 and 5
    assert unpacked(packed)[0, 0::2].tolist() == VALUES.tolist()
    assert unpacked(packed)[0, 1::2].tolist() == [3.0] * 16


def test_every_weight_is_the_checkpoints_own() -> None:
    random = np.random.default_rng(3)
    codes = random.integers(0, 256, (2, 6, 3, 16), np.uint8)
    scales = random.integers(100, 140, (2, 6, 3), np.uint8)
    weights = VALUES[np.stack([codes & 15, codes >> 4], axis=-1)].reshape(2, 6, 3, 32)
    weights = (weights * np.exp2(scales.astype(np.float32) - 127)[..., None]).reshape(2, 6, 96)
    tensors = {"x_scales": tensor_of(scales, "U8", "x_scales")}
    seen = dict(mxfp4_experts("gate", "up")(tensor_of(codes, "U8", "x_blocks"), tensors, NONE))
    for number, name in enumerate(("gate", "up")):
        assert (seen[name].dtype, seen[name].shape) == ("MXFP4", (2, 3, 96))
        blocks = np.concatenate([seen[name].read_rows(row, 1) for row in range(6)])
        assert np.array_equal(unpacked(blocks).reshape(2, 3, 96), weights[:, number::2])


def test_what_does_not_fit_is_an_error() -> None:
    codes, scales = tensor_of(numbered(2, 2, 16), "U8"), tensor_of(numbered(3, 2), "U8")
    with pytest.raises(CheckpointError, match=r"\[2, 2, 16\] does not fit its scales \[3, 2\]"):
        mxfp4(codes, scales)
    with pytest.raises(CheckpointError, match="`x_scales` is missing, which belongs to `x_blocks`"):
        dict(mxfp4_experts("a")(tensor_of(numbered(1, 1, 1, 16), "U8", "x_blocks"), {}, NONE))
    with pytest.raises(CheckpointError, match="`x_blocks` is missing, which belongs to `x_scales`"):
        mxfp4_scales(tensor_of(numbered(1, 1, 1), "U8", "x_scales"), {}, NONE)
    with pytest.raises(CheckpointError, match=r"\[3, 2\] does not hold 2 tensors"):
        every(tensor_of(numbered(3, 2)), 2, 0)
    with pytest.raises(CheckpointError, match=r"\[3, 2\] does not hold heads of 2 rows"):
        dict(keys_and_values("k", "v", lambda _: 1, lambda _: 1)(tensor_of(numbered(3, 2)), {}, NONE))
    with pytest.raises(CheckpointError, match="has no rows 1 to 4"):
        rows_of_each(tensor_of(numbered(3, 2)), 1, 3)
    with pytest.raises(CheckpointError, match="holds no matrices"):
        transposed(tensor_of(numbered(3)))


def test_a_scale_that_is_not_a_number_is_an_error() -> None:
    scales = tensor_of(np.full((1, 1), 255, np.uint8), "U8", "scales")
    joined = mxfp4(tensor_of(np.zeros((1, 1, 16), np.uint8), "U8"), scales)
    with pytest.raises(CheckpointError, match="`scales` contains NaN"):
        joined.read_array()
