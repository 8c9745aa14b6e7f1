"""Tensors in pieces: the same bytes whatever their size and the number of threads, never all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from localllm.checkpoint import DerivedTensor, StoredTensor, Tensor, open_checkpoint
from localllm.checkpoint.safetensors_file import read_safetensors
from localllm.conversion.config import ModelConfig, normalise
from localllm.conversion.encode import encode_piece, largest_magnitude
from localllm.conversion.families import family_of
from localllm.conversion.ops import ADD_ONE, PERMUTE_QUERY, SPLIT_FUSED_HEADS, TRANSPOSE, Op
from localllm.conversion.out_type import OutType
from localllm.conversion.pieces import pieces_of
from localllm.conversion.plan import ConversionPlan, PlannedTensor, plan_conversion
from localllm.conversion.sources import Rows
from localllm.conversion.workspace import Workspace
from localllm.conversion.writing import write_model
from localllm.errors import CheckpointError
from localllm.events import ignore
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.gguf_file.writer import TensorEntry
from tests.conversion.tiny_families import write_tiny_family
from tests.conversion.tiny_llama import cast, write_safetensors

FAMILIES = (
    *("llama-2", "mistral-nemo", "mixtral", "gemma2", "phi3", "stablelm-norms", "gpt2", "gpt-neox"),
    *("lfm2-moe", "granite4", "qwen3.5", "llama4", "gpt-oss"),
)
CONFIG = ModelConfig({"num_attention_heads": 8, "num_hidden_layers": 1})


def plan_of(directory: Path, kind: str) -> tuple[ConversionPlan, ModelConfig]:
    checkpoint = open_checkpoint(directory)
    family = family_of(checkpoint.architecture, checkpoint.config)
    config = normalise(checkpoint.config, family.defaults)
    return plan_conversion(checkpoint, family, config, OutType(kind)), config


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_the_size_of_the_pieces_changes_nothing(family: str, kind: str, tmp_path: Path) -> None:
    plan, config = plan_of(write_tiny_family(tmp_path / family, family), kind)
    space = Workspace()
    for planned in plan.tensors:
        made = {
            b"".join(bytes(encode_piece(piece, space)) for piece in pieces_of(planned, config, weights))
            for weights in (1, 100, 64 * 7, 2**20)
        }
        assert len(made) == 1, planned.entry.name


@pytest.mark.parametrize("family", ["mixtral", "gpt2", "llama4"])
def test_the_number_of_threads_changes_nothing(family: str, tmp_path: Path) -> None:
    plan, config = plan_of(write_tiny_family(tmp_path / family, family), "q8_0")
    made = set()
    for threads in (1, 2, 7):
        path = tmp_path / f"{threads}.gguf"
        size = write_model([path], [plan.tensors], {}, config, ignore, threads)
        assert size == path.stat().st_size
        made.add(path.read_bytes())
    assert len(made) == 1


def planned_tensor(tensor: Tensor, op: Op | None, kind: str = "F32") -> PlannedTensor:
    shape = tensor.shape if op is not None and op.swaps_axes else tensor.shape[::-1]
    entry = TensorEntry("t", shape, TENSOR_TYPES_BY_NAME[kind])
    return PlannedTensor(entry, (Rows(tensor, 0, tensor.rows),), op)


@pytest.mark.parametrize("op", [None, PERMUTE_QUERY, SPLIT_FUSED_HEADS, ADD_ONE, TRANSPOSE])
def test_a_large_tensor_is_never_read_at_once(op: Op | None) -> None:
    """The shape is real, the values are not: rows are counted as they are asked for."""
    rows, columns, weights = 8 * 3 * 128, 4096, 64 * 4096
    largest = 0

    def compute(first: int, count: int) -> NDArray[np.float32]:
        nonlocal largest
        largest = max(largest, count)
        return np.broadcast_to(np.arange(first, first + count, dtype=np.float32)[:, None], (count, columns))

    tensor = DerivedTensor("t", "F32", (rows, columns), "F32", compute)
    pieces = list(pieces_of(planned_tensor(tensor, op), CONFIG, weights))
    space = Workspace()
    made = sum(len(encode_piece(piece, space)) for piece in pieces)
    assert made == rows * columns * 4
    assert largest * columns <= weights
    assert max(array.nbytes for array in space._held.values()) <= 4 * 4 * weights  # transposed: 4 pieces
    assert len(pieces) >= 12


def test_rows_that_are_split_into_parts_are_moved_within_them() -> None:
    def compute(first: int, count: int) -> NDArray[np.float32]:
        return np.arange(first, first + count, dtype=np.float32)[:, None]

    tensor = DerivedTensor("t", "F32", (64, 1), "F32", compute)
    planned = PlannedTensor(
        TensorEntry("t", (1, 32), TENSOR_TYPES_BY_NAME["F32"]), (Rows(tensor, 32, 32),), PERMUTE_QUERY
    )
    read = np.concatenate([piece.read(Workspace())[:, 0].copy() for piece in pieces_of(planned, CONFIG, 3)])
    assert read.tolist() == (32 + PERMUTE_QUERY.apply(np.arange(32), CONFIG)).tolist()


def test_a_verb_that_does_not_fit_is_an_error() -> None:
    tensor = DerivedTensor("q", "F32", (12, 4), "F32", lambda _, count: np.zeros((count, 4), np.float32))
    with pytest.raises(CheckpointError, match=r"`q` of shape \[12, 4\] does not fit the heads"):
        list(pieces_of(planned_tensor(tensor, PERMUTE_QUERY), CONFIG))


def stored(directory: Path, values: NDArray[Any], dtype: str) -> StoredTensor:
    path = directory / "model.safetensors"
    write_safetensors(path, {"t": (dtype, values)})
    return next(read_safetensors(path))


def encode_all(tensor: Tensor, kind: str) -> bytes:
    space = Workspace()
    pieces = pieces_of(planned_tensor(tensor, None, kind), CONFIG, 128)
    return b"".join(bytes(encode_piece(piece, space)) for piece in pieces)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64"])
@pytest.mark.parametrize("place", [0, 1, 333, 640 - 1])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found_in_every_piece(
    dtype: str, place: int, value: float, tmp_path: Path
) -> None:
    values = np.linspace(-1, 1, 640, dtype=np.float32).reshape(10, 64)
    values.flat[place] = value
    bits = (values.view("<u4") >> 16).astype("<u2") if dtype == "BF16" else cast(values, dtype)
    tensor = stored(tmp_path, bits, dtype)
    for kind in ("F32", "F16", "BF16", "Q8_0"):
        with pytest.raises(CheckpointError, match="`t` contains NaN or infinity"):
            encode_all(tensor, kind)


@pytest.mark.parametrize("place", [0, 333, 640 - 1])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("dtype", "kind", "value"),
    [
        ("BF16", "F16", 70000.0),
        ("F32", "F16", 65504.1),
        ("F64", "F16", 65505.0),
        ("F32", "Q8_0", 8.4e6),
        ("BF16", "Q8_0", 3e38),
        ("F32", "BF16", 3.4e38),
        ("F64", "F32", 1e39),
        ("F64", "BF16", 1e300),
    ],
)
def test_what_is_too_large_is_found_in_every_piece(
    dtype: str, kind: str, value: float, sign: int, place: int, tmp_path: Path
) -> None:
    values = np.linspace(-1, 1, 640, dtype=np.float64).reshape(10, 64)
    values.flat[place] = sign * value
    tensor = stored(tmp_path, values if dtype == "F64" else cast(values.astype(np.float32), dtype), dtype)
    with pytest.raises(CheckpointError, match=f"`t` has values too large for {kind.lower()}"):
        encode_all(tensor, kind)


@pytest.mark.parametrize(
    ("dtype", "kind", "value"),
    [
        ("F32", "F16", 65504.0),
        ("F64", "F32", 3.4028235e38),
        ("F32", "F32", 3.4028235e38),
        ("F16", "Q8_0", 65504.0),
    ],
)
def test_the_largest_value_passes(dtype: str, kind: str, value: float, tmp_path: Path) -> None:
    values = np.full((2, 64), -value)
    tensor = stored(tmp_path, values if dtype == "F64" else cast(values.astype(np.float32), dtype), dtype)
    assert encode_all(tensor, kind)


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_the_largest_magnitude(dtype: str) -> None:
    random = np.random.default_rng(1)
    for values in (random.normal(size=(3, 5)), -np.ones((2, 2)), np.zeros((1, 1)), np.full((1, 2), -0.0)):
        stored_values = cast(values.astype(np.float32), dtype)
        assert largest_magnitude(stored_values, dtype) == float(np.abs(stored_values).max())
    assert largest_magnitude(np.empty((0, 4), f"<{dtype.lower()[0]}{int(dtype[1:]) // 8}"), dtype) == 0.0


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    tensor = stored(tmp_path, np.ones((10, 64), "<f4"), "F32")
    pieces = pieces_of(planned_tensor(tensor, None), CONFIG, 128)
    encode_piece(next(pieces), Workspace())
    with tensor.path.open("rb+") as file:
        file.truncate(tensor.path.stat().st_size - 64 * 4)
    with pytest.raises(CheckpointError, match="ends inside tensor `t`"):
        for piece in pieces:
            encode_piece(piece, Workspace())
