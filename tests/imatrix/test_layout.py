"""The mirror of ggml's tensors: it is compared with the library before it is believed."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest

from localllm.errors import ImportanceMatrixError
from localllm.native import tensor
from localllm.native.activations import ActivationSums
from localllm.native.tensor import F32, Tensor, check_layout, operations, read_numbers, weight_name

FIELDS: dict[str, object] = dict(Tensor._fields_)


def layout(fields: dict[str, object]) -> type[ctypes.Structure]:
    return type("Layout", (ctypes.Structure,), {"_fields_": tuple(fields.items())})


def swapped(one: str, other: str) -> dict[str, object]:
    """Return the fields with two of them in each other's place."""
    order = list(FIELDS)
    first, second = order.index(one), order.index(other)
    order[first], order[second] = order[second], order[first]
    return {name: FIELDS[name] for name in order}


def test_the_installed_library_has_the_layout() -> None:
    assert check_layout(layout(FIELDS)) == operations()


@pytest.mark.parametrize(
    "fields",
    [
        swapped("ne", "nb"),
        swapped("data", "view_src"),
        swapped("data", "extra"),
        swapped("buffer", "extra"),
        swapped("type", "flags"),
        swapped("op", "flags"),
        swapped("name", "op_params"),
        swapped("src", "name"),
        {**FIELDS, "ne": ctypes.c_int32 * 4},
        {**FIELDS, "src": ctypes.c_void_p * 9},
        {**FIELDS, "name": ctypes.c_char * 128},
    ],
)
def test_another_layout_is_an_error(fields: dict[str, object]) -> None:
    with pytest.raises(ImportanceMatrixError, match="does not know") as caught:
        check_layout(layout(fields))
    assert caught.value.hint


def test_nothing_is_collected_with_another_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor, "Tensor", layout(swapped("ne", "nb")))
    operations.cache_clear()
    try:
        with pytest.raises(ImportanceMatrixError):
            ActivationSums()
    finally:
        operations.cache_clear()


def test_a_library_without_the_functions_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor, "ggml", object)
    tensor._base.cache_clear()
    try:
        with pytest.raises(ImportanceMatrixError, match="does not know"):
            check_layout(Tensor)
    finally:
        tensor._base.cache_clear()


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        (b"blk.0.attn_q.weight", "blk.0.attn_q.weight"),
        (b"CUDA0#blk.0.attn_q.weight#0", "blk.0.attn_q.weight"),
        (b"CUDA0#blk.0.attn_q.weight", "blk.0.attn_q.weight"),
        (b"\xff", "\ufffd"),
        (b"", ""),
    ],
)
def test_names_of_copies(name: bytes, weight: str) -> None:
    assert weight_name(Tensor(name=name)) == weight


def test_strided_numbers_are_read_in_place() -> None:
    memory = np.arange(48, dtype=np.float32).reshape(2, 4, 6)
    part = memory[:, 1:3, :5]
    made = tensor_of(part)
    found = read_numbers(ctypes.addressof(made), made)
    assert found.shape == (1, 2, 2, 5)
    assert np.array_equal(found[0], part)
    memory[1, 2, 4] = -1
    assert found[0, 1, 1, 4] == -1


def test_numbers_on_a_device_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Host memory stands in for a device's: what is not said to be the host's goes through ggml."""
    memory = np.arange(48, dtype=np.float32).reshape(2, 4, 6)
    part = memory[:, 1:3, :5]

    class Device:
        def ggml_backend_buffer_is_host(self, buffer: int) -> bool:
            assert buffer == 123
            return False

        def ggml_backend_tensor_get(
            self, address: int, target: ctypes.Array[ctypes.c_char], start: int, size: int
        ) -> None:
            source = Tensor.from_address(address)
            ctypes.memmove(target, source.data + start, size)

    monkeypatch.setattr(tensor, "_base", Device)
    made = tensor_of(part)
    made.buffer = 123
    found = read_numbers(ctypes.addressof(made), made)
    memory[:] = 0
    gc.collect()
    assert np.array_equal(found[0], np.arange(48, dtype=np.float32).reshape(2, 4, 6)[:, 1:3, :5])


def test_a_tensor_without_numbers() -> None:
    made = tensor_of(np.zeros((2, 3, 4), np.float32))
    made.ne[1] = 0
    assert read_numbers(ctypes.addressof(made), made).shape == (1, 2, 0, 4)


def tensor_of(values: np.ndarray[tuple[int, int, int], np.dtype[np.float32]]) -> Tensor:
    """Return a three-dimensional tensor over the memory of `values`."""
    made = Tensor(type=F32, data=values.ctypes.data)
    made.ne[:] = [*values.shape[::-1], 1]
    made.nb[:] = [*values.strides[::-1], values.strides[0] * values.shape[0]]
    return made
