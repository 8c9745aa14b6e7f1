"""Matrices that hold several, head by head, are taken apart as written here by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from localllm.checkpoint import Tensor
from localllm.conversion.config import ModelConfig
from localllm.conversion.expert_views import experts_either_way
from localllm.conversion.head_views import fused_heads, joined
from localllm.errors import CheckpointError
from tests.conversion.test_views import numbered, tensor_of

CONFIG = ModelConfig({})


def seen(rows: list[int], **matrices: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    """View two heads of rows 0, 1, 2 … with two columns."""
    heads = tensor_of(np.repeat(np.arange(2 * sum(rows), dtype=np.float32), 2).reshape(-1, 2), "F32")
    found = fused_heads(lambda _: rows, matrices)(heads, {}, CONFIG)
    return {name: tensor.read_array()[:, 0] for name, tensor in found}


def test_heads_are_taken_apart_and_put_together() -> None:
    found = seen([1, 1, 2], first=(0, 1), second=(2,))
    assert found["first"].tolist() == [0, 4, 1, 5]
    assert found["second"].tolist() == [2, 3, 6, 7]


def test_every_row_is_somewhere_once() -> None:
    found = seen([3, 1, 2, 2], a=(0, 2), b=(3,), c=(1,))
    assert sorted(np.concatenate(list(found.values()))) == list(range(16))


def test_rows_that_do_not_fit_the_heads_are_an_error() -> None:
    matrix = tensor_of(numbered(7, 2), "F32")
    with pytest.raises(CheckpointError, match="does not hold heads of 4 rows"):
        list(fused_heads(lambda _: [1, 3], {"a": (0,)})(matrix, {}, CONFIG))


def test_any_rows_of_what_was_joined() -> None:
    parts = [tensor_of(numbered(rows, 3) + 100 * rows, "F32") for rows in (2, 1, 3)]
    whole = np.concatenate([part.read_array() for part in parts])
    together = joined(parts)
    assert together.shape == (6, 3)
    for first, last in product(range(6), range(7)):
        if first < last:
            assert np.array_equal(together.read_rows(first, last - first), whole[first:last])


def experts(hidden: int, width: int, *, turned: bool) -> dict[str, Tensor]:
    pair, down = numbered(3, 2 * width, hidden), numbered(3, hidden, width)
    arrays = {"x.e.gate_up_proj": pair, "x.e.down_proj": down}
    return {
        name: tensor_of(values.swapaxes(1, 2) if turned else values, "F32", name)
        for name, values in arrays.items()
    }


@pytest.mark.parametrize(("hidden", "width"), [(4, 6), (4, 4), (4, 2)])
def test_experts_turned_or_not_are_the_same(hidden: int, width: int) -> None:
    config = ModelConfig({"hidden_size": hidden, "moe_intermediate_size": width})
    views = experts_either_way("e")
    found = []
    for turned in (False, True):
        tensors = experts(hidden, width, turned=turned)
        seen = [views[name.removeprefix("x.")](tensor, tensors, config) for name, tensor in tensors.items()]
        found.append({name: tensor.read_array().tolist() for view in seen for name, tensor in view})
    assert found[0] == found[1]
    assert found[0]["e.up_proj.weight"] == numbered(3, 2 * width, hidden)[:, width:].tolist()


def test_experts_of_another_size_are_an_error() -> None:
    config = ModelConfig({"hidden_size": 4, "moe_intermediate_size": 5})
    tensors = experts(4, 6, turned=False)
    with pytest.raises(CheckpointError, match="holds no experts of 4 by 5"):
        list(experts_either_way("e")["e.down_proj"](tensors["x.e.down_proj"], tensors, config))
