"""The verbs on tensors: rotary rows move as llama.cpp wants; Llama 3's factors are the reference's."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from localllm.conversion.config import ModelConfig
from localllm.conversion.ops import (
    COLUMN,
    DROP_MIDDLE_AXIS,
    NEGATIVE_EXP,
    PERMUTE_KEY,
    PERMUTE_QUERY,
    ROWS_BY_GROUP,
    TILE_HEADS,
    TILE_VALUE_COLUMNS,
    TILE_VALUE_ROWS,
    TILE_VALUES_BEHIND,
    TRANSPOSE,
    in_turn,
    llama3_rope_factors,
    negative_exp,
    permute_heads,
    proportional_rope_factors,
    tile_heads,
    unpermute_heads,
)
from localllm.errors import CheckpointError


@st.composite
def projections(draw: st.DrawFn) -> tuple[NDArray[Any], int]:
    """An array of distinct values with rows for some heads of an even size, and the number of heads."""
    heads, half = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    rest = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    dtype = draw(st.sampled_from(["<f4", "<f2", "<u2", "<f8"]))
    shape = (heads * half * 2, *rest)
    return np.arange(np.prod(shape)).astype(dtype).reshape(shape), heads


@given(projections())
def test_unpermute_undoes_permute(case: tuple[NDArray[Any], int]) -> None:
    rows, heads = case
    assert np.array_equal(unpermute_heads(permute_heads(rows, heads), heads), rows)
    assert np.array_equal(permute_heads(unpermute_heads(rows, heads), heads), rows)


@given(projections())
def test_permute_only_moves_rows_within_their_head(case: tuple[NDArray[Any], int]) -> None:
    rows, heads = case
    moved = permute_heads(rows, heads)
    assert (moved.dtype, moved.shape) == (rows.dtype, rows.shape)
    for before, after in zip(np.split(rows, heads), np.split(moved, heads), strict=True):
        assert np.array_equal(np.sort(before, axis=None), np.sort(after, axis=None))


def test_the_halves_of_a_head_become_pairs() -> None:
    assert permute_heads(np.arange(16), 2).tolist() == [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]


@given(projections())
def test_row_i_and_its_partner_become_neighbours(case: tuple[NDArray[Any], int]) -> None:
    rows, heads = case
    half = len(rows) // heads // 2
    moved = permute_heads(rows, heads)
    for head in range(heads):
        for i in range(half):
            start = head * half * 2
            assert np.array_equal(moved[start + 2 * i], rows[start + i])
            assert np.array_equal(moved[start + 2 * i + 1], rows[start + half + i])


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.sampled_from([0, -1]))
def test_tiling_with_the_other_count_undoes_tiling(keys: int, each: int, size: int, axis: int) -> None:
    count = keys * each * size
    values = np.arange(count * 2).reshape((count, 2) if axis == 0 else (2, count))
    tiled = tile_heads(values, keys, size, axis)
    assert np.array_equal(tile_heads(tiled, each, size, axis), values)


def test_heads_of_one_key_are_spread() -> None:
    """Key heads a and b with three value heads of two numbers each."""
    heads = np.array(["a0", "a0'", "a1", "a1'", "a2", "a2'", "b0", "b0'", "b1", "b1'", "b2", "b2'"])
    assert " ".join(tile_heads(heads, 2, 2)) == "a0 a0' b0 b0' a1 a1' b1 b1' a2 a2' b2 b2'"


DELTA = ModelConfig(
    {
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 2,
        "linear_value_head_dim": 2,
        "mamba_n_groups": 2,
    }
)


def test_only_values_are_tiled_behind_queries_and_keys() -> None:
    moved = TILE_VALUES_BEHIND.apply(np.arange(16), DELTA).tolist()
    assert moved == [*range(8), 8, 9, 12, 13, 10, 11, 14, 15]
    assert TILE_VALUE_ROWS.apply(np.arange(8), DELTA).tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert TILE_VALUE_COLUMNS.apply(np.arange(8)[None], DELTA).tolist() == [[0, 1, 4, 5, 2, 3, 6, 7]]
    assert TILE_HEADS.apply(np.arange(4), DELTA).tolist() == [0, 2, 1, 3]


def test_a_verb_tells_the_shape_it_makes() -> None:
    kernels, vector = np.zeros((16, 1, 4), np.float32), np.zeros(4, np.float32)
    for op, values in (
        (DROP_MIDDLE_AXIS, kernels),
        (in_turn(DROP_MIDDLE_AXIS, TILE_VALUES_BEHIND), kernels),
        (COLUMN, vector),
        (in_turn(NEGATIVE_EXP, COLUMN), vector),
        (ROWS_BY_GROUP, vector),
        (TRANSPOSE, kernels[:, 0]),
    ):
        assert op.apply(values, DELTA).shape == op.shape_of(values.shape, DELTA), op.name


def test_groups_under_either_name() -> None:
    """Hybrids put `mamba_` in front."""
    for name in ("mamba_n_groups", "n_groups"):
        rows = ROWS_BY_GROUP.apply(np.arange(6), ModelConfig({name: 2}))
        assert rows.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(CheckpointError, match="4 groups cannot share 6 channels"):
        ROWS_BY_GROUP.shape_of((6,), ModelConfig({"n_groups": 4}))


def test_verbs_in_turn_move_only_when_all_do() -> None:
    assert in_turn(DROP_MIDDLE_AXIS, TILE_HEADS).moves_only
    assert not in_turn(TILE_HEADS, NEGATIVE_EXP).moves_only


@given(st.floats(-80, 80, width=32))
def test_decay_is_rounded_once_and_log_undoes_it(value: float) -> None:
    [found] = negative_exp(np.array([value], np.float32))
    assert found == np.float32(-math.exp(value))
    assert math.log(-found) == pytest.approx(value, abs=1e-6)


def test_queries_and_keys_have_their_own_number_of_heads() -> None:
    config = ModelConfig({"num_attention_heads": 4, "num_key_value_heads": 2})
    rows = np.arange(16)
    assert np.array_equal(PERMUTE_QUERY.apply(rows, config), permute_heads(rows, 4))
    assert np.array_equal(PERMUTE_KEY.apply(rows, config), permute_heads(rows, 2))


def rope_config(head_size: int, factor: float, context: int = 8192, theta: float = 500000.0) -> ModelConfig:
    rope = {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": context,
    }
    return ModelConfig({"rope": rope, "head_dim": head_size})


@pytest.mark.parametrize(
    ("head_size", "factor", "digest"),
    [
        pytest.param(
            128, 8.0, "8b516af9cb5db26ed32831eb6f493dd620843d1cd69ca7bbad760c76061cd565", id="Llama 3.1"
        ),
        pytest.param(
            64, 32.0, "d25a6d176d9313062b8f86440c88649f9e568d573ea66bfa4e85e2424cf35633", id="Llama 3.2 1B"
        ),
        pytest.param(
            128, 32.0, "af00a6286e9cba87733f6e5dd6b09a2bffd7326e6ac33d346f83f7c2f4857828", id="Llama 3.2 3B"
        ),
    ],
)
def test_rope_factors_are_the_reference_converters_bit_for_bit(
    head_size: int, factor: float, digest: str
) -> None:
    """The digests are of what the reference's formula gives in torch 2.13."""
    factors = llama3_rope_factors(rope_config(head_size, factor))
    assert hashlib.sha256(factors.astype("<f4").tobytes()).hexdigest() == digest


@given(
    st.sampled_from([32, 64, 80, 128, 256]),
    st.floats(1.5, 64.0),
    st.sampled_from([2048, 8192, 131072]),
    st.floats(1e4, 1e7),
)
def test_rope_factors_rise_from_one_to_the_factor(
    head_size: int, factor: float, context: int, theta: float
) -> None:
    factors = llama3_rope_factors(rope_config(head_size, factor, context, theta))
    assert factors.shape == (head_size // 2,)
    assert factors[0] == 1.0
    assert np.all(np.diff(factors) > -1e-4)
    assert np.all(factors <= np.float32(factor) * (1 + 1e-6))


def test_a_part_of_each_head_is_rotated() -> None:
    """Two of eight pairs keep their frequencies; those of all others are as good as zero."""
    assert proportional_rope_factors(16, 0.25).tolist() == [1.0, 1.0, *[np.float32(1e30)] * 6]
    assert proportional_rope_factors(6, 1.0).tolist() == [1.0] * 3
    assert proportional_rope_factors(6, 0.5).tolist() == [1.0, np.float32(1e30), np.float32(1e30)]
