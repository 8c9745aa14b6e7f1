"""Summing up squares: dense and routed products against loops, and a callback that never raises."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from localllm.errors import ImportanceMatrixError
from localllm.native.activations import CALLBACK, ActivationSums, collecting
from localllm.native.tensor import F32, I32, Tensor, operations

WEIGHT = "blk.0.ffn_down_exps.weight"


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def test_dense_products_are_the_sum_over_rows(random: np.random.Generator) -> None:
    sums = ActivationSums()
    inputs = random.standard_normal((2, 1, 1, 40, 8)).astype(np.float32)
    for numbers in inputs:
        sums.add_dense("w", numbers, (1, 1))
    np.testing.assert_allclose(
        sums.inputs["w"].sums, (inputs.astype(float) ** 2).sum((0, 1, 2, 3))[None], 1e-5
    )
    assert sums.inputs["w"].counts.tolist() == [80]


@pytest.mark.parametrize("grid", [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_a_grid_of_matrices(grid: tuple[int, int], random: np.random.Generator) -> None:
    """As llama-imatrix counts: matrix i3 % ne3, i2 % ne2, and one count of the rows each of them saw."""
    inputs = random.standard_normal((4, 6, 5, 8)).astype(np.float32)
    expected = np.zeros((grid[0] * grid[1], 8))
    for outer in range(4):
        for inner in range(6):
            matrix = (outer % grid[0]) * grid[1] + inner % grid[1]
            expected[matrix] += (inputs[outer, inner].astype(float) ** 2).sum(0)
    sums = ActivationSums()
    sums.add_dense("w", inputs, grid)
    np.testing.assert_allclose(sums.inputs["w"].sums, expected, 1e-5)
    assert sums.inputs["w"].counts.tolist() == [4 * 6 * 5 // len(expected)]


@pytest.mark.parametrize("slots", [1, 3])
def test_routed_products_go_to_the_experts_chosen(slots: int, random: np.random.Generator) -> None:
    inputs = random.standard_normal((20, slots, 8)).astype(np.float32)
    ids = np.array([random.permutation(6)[:3] for _ in range(20)], np.int32)
    ids[ids == 4] = 5  # nobody goes to expert 4
    expected, counts = np.zeros((7, 8)), np.zeros(7, np.int64)
    for token in range(20):
        for slot in range(3):
            expected[ids[token, slot]] += inputs[token, slot % slots].astype(float) ** 2
            counts[ids[token, slot]] += 1
    sums = ActivationSums()
    sums.add_routed("w", inputs, ids, 7)
    sums.add_routed("w", inputs, ids, 7)
    np.testing.assert_allclose(sums.inputs["w"].sums, 2 * expected, 1e-5)
    assert sums.inputs["w"].counts.tolist() == (2 * counts).tolist()
    assert sums.inputs["w"].is_partial


def test_a_tensor_used_in_both_ways(random: np.random.Generator) -> None:
    """A single count grows to one for each expert, and equal ones shrink back, as in llama-imatrix."""
    sums = ActivationSums()
    dense = random.standard_normal((1, 2, 5, 8)).astype(np.float32)
    sums.add_dense("w", dense, (1, 2))
    sums.add_routed("w", dense[0], np.array([[0], [0]], np.int32), 2)
    assert sums.inputs["w"].counts.tolist() == [7, 5]
    sums.add_dense("w", dense, (1, 2))
    assert sums.inputs["w"].counts.tolist() == [12, 10]
    sums.add_routed("w", dense[0], np.array([[1], [1]], np.int32), 2)
    sums.add_dense("w", dense, (1, 2))
    assert sums.inputs["w"].counts.tolist() == [17]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_numbers_that_are_not_finite_name_the_tensor(bad: float) -> None:
    inputs = np.ones((1, 1, 20, 8), np.float32)
    inputs[0, 0, 3, 2] = bad
    with (
        pytest.raises(ImportanceMatrixError, match=r"`blk\.3\.ffn_up\.weight` is not finite"),
        np.errstate(all="ignore"),
    ):
        ActivationSums().add_dense("blk.3.ffn_up.weight", inputs, (1, 1))


@pytest.mark.parametrize("expert", [-1, 4])
def test_experts_that_do_not_exist(expert: int) -> None:
    with pytest.raises(ImportanceMatrixError, match="unknown way"):
        ActivationSums().add_routed("w", np.ones((1, 1, 8), np.float32), np.array([[expert]], np.int32), 4)


def test_widths_that_change() -> None:
    sums = ActivationSums()
    sums.add_dense("w", np.ones((1, 1, 20, 8), np.float32), (1, 1))
    with pytest.raises(ImportanceMatrixError, match="change their width"):
        sums.add_dense("w", np.ones((1, 1, 20, 9), np.float32), (1, 1))


class Node:
    """A product as the scheduler hands it over, over numpy's memory."""

    def __init__(self, name: str, *, rows: int = 16, op: int | None = None, kind: int = F32) -> None:
        self.numbers = np.full((rows, 8), 2, np.float32)
        self.weights, self.inputs = (
            Tensor(name=name.encode()),
            Tensor(type=kind, data=self.numbers.ctypes.data),
        )
        self.weights.ne[:] = [8, 3, 1, 1]
        self.inputs.ne[:] = [8, rows, 1, 1]
        self.inputs.nb[:] = [4, 32, 32 * rows, 32 * rows]
        self.tensor = Tensor(op=operations().mul_mat if op is None else op)
        self.tensor.src[0], self.tensor.src[1] = ctypes.addressof(self.weights), ctypes.addressof(self.inputs)
        self.address = ctypes.addressof(self.tensor)


@pytest.mark.parametrize(
    ("name", "changes", "with_output", "wanted"),
    [
        ("blk.0.attn_q.weight", {}, False, True),
        ("CUDA0#blk.0.attn_q.weight#0", {}, False, True),
        ("blk.0.attn_q.weight", {"rows": 15}, False, False),
        ("blk.0.attn_q.weight", {"kind": I32}, False, False),
        ("blk.0.attn_q.weight", {"op": 1}, False, False),
        ("output.weight", {}, False, False),
        ("output.weight", {}, True, True),
        ("token_embd.weight", {}, True, False),
        ("cache_k_l0", {}, True, False),
    ],
)
def test_which_products_count(name: str, changes: dict[str, int], with_output: bool, wanted: bool) -> None:
    sums, node = ActivationSums(with_output=with_output), Node(name, **changes)
    with collecting(sums):
        assert CALLBACK(node.address, True, None) is wanted
    sums.check()


def test_the_callback_adds_up(random: np.random.Generator) -> None:
    sums, node = ActivationSums(), Node("blk.0.attn_q.weight", rows=20)
    with collecting(sums):
        assert CALLBACK(node.address, True, None)
        assert CALLBACK(node.address, False, None)
    assert sums.inputs["blk.0.attn_q.weight"].sums.tolist() == [[80.0] * 8]


def test_the_callback_wants_nothing_while_nobody_collects() -> None:
    assert CALLBACK(Node("blk.0.attn_q.weight").address, True, None) is False


def test_failures_are_kept_not_raised() -> None:
    sums, node = ActivationSums(), Node("blk.0.attn_q.weight")
    node.numbers[0, 0] = np.inf
    with collecting(sums):
        assert CALLBACK(node.address, False, None) is True
        assert CALLBACK(node.address, True, None) is False
    with pytest.raises(ImportanceMatrixError, match="not finite"):
        sums.check()


def test_bugs_are_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    sums, node = ActivationSums(), Node("blk.0.attn_q.weight")
    monkeypatch.setattr(sums, "add_dense", broken)
    with collecting(sums):
        CALLBACK(node.address, False, None)
    with pytest.raises(ZeroDivisionError):
        sums.check()
