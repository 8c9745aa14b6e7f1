"""ggml's tensors as C structs, for callbacks that are handed one: their operation, operands and numbers.

The binding keeps tensors opaque and ggml has no function that tells a tensor's operands, so the struct is
mirrored here. Before it is used, `operations` makes tensors through the library and compares: another
layout becomes an error instead of garbage. Source of the layout: ggml/include/ggml.h, struct ggml_tensor.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localllm.errors import ImportanceMatrixError
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.native.library import ggml

if TYPE_CHECKING:
    from numpy.typing import NDArray

F32 = TENSOR_TYPES_BY_NAME["F32"].id
I32 = TENSOR_TYPES_BY_NAME["I32"].id
_OBJECT_BYTES = 32  # what ggml_tensor_overhead counts besides the tensor: struct ggml_object
_WORK_BYTES = 64 * 1024
_MOST_OPERATIONS = 64  # fewer than ggml has


class Tensor(ctypes.Structure):
    """struct ggml_tensor: `ne` counts elements and `nb` bytes to the next one, row direction first."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )


@dataclass(frozen=True)
class Operations:
    """The numbers the library gives two operations: a matrix product, and one with chosen experts."""

    mul_mat: int
    mul_mat_id: int


@functools.cache
def operations() -> Operations:
    """Check that tensors lie in memory as `Tensor` says and return the operations' numbers.

    Raise ImportanceMatrixError when the installed llama.cpp has another layout.
    """
    return check_layout(Tensor)


def check_layout(layout: type[ctypes.Structure]) -> Operations:
    """Compare `layout` with what the library makes, field by field; see `operations`."""
    base = _base()
    if ctypes.sizeof(layout) != base.ggml_tensor_overhead() - _OBJECT_BYTES:
        raise _unknown_layout()
    with _sample_tensors(base) as samples:
        found = [_fields(layout.from_address(address)) for address in samples]
        for fields, known in zip(found, samples.values(), strict=True):
            if any(fields[name] != value for name, value in known.items()):
                raise _unknown_layout()
    numbers = Operations(*(fields["op"] for fields in found[-2:]))
    if not 0 < numbers.mul_mat < numbers.mul_mat_id < _MOST_OPERATIONS:  # names lie in a table
        raise _unknown_layout()
    names = [base.ggml_op_name(number) for number in (numbers.mul_mat, numbers.mul_mat_id)]
    if names != [b"MUL_MAT", b"MUL_MAT_ID"]:
        raise _unknown_layout()
    return numbers


def read_numbers(address: int, tensor: Tensor) -> NDArray[Any]:
    """Return the numbers of the F32 or I32 tensor at `address`, shape (ne3, ne2, ne1, ne0).

    They are a view of host memory, good until the graph goes on, or a copy of a device's memory.
    """
    import numpy as np

    shape, strides = tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
    dtype = np.dtype(np.float32 if tensor.type == F32 else np.int32)
    if 0 in shape:
        return np.zeros(shape, dtype)
    size = dtype.itemsize + sum((count - 1) * step for count, step in zip(shape, strides, strict=True))
    memory: Any
    if not tensor.buffer or _base().ggml_backend_buffer_is_host(tensor.buffer):
        memory = (ctypes.c_char * size).from_address(tensor.data)
    else:
        memory = ctypes.create_string_buffer(size)
        _base().ggml_backend_tensor_get(address, memory, 0, size)
    return np.ndarray(shape, dtype, memory, 0, strides)


def weight_name(tensor: Tensor) -> str:
    """Return a tensor's name without what the scheduler puts around that of a copy: `CUDA0#name#0`."""
    name: str = tensor.name.decode("utf-8", "replace")
    _, copied, rest = name.partition("#")
    return rest.partition("#")[0] if copied else name


def _fields(tensor: ctypes.Structure) -> dict[str, Any]:
    """Return the fields that are compared: arrays as lists, the operands without the unused ones."""
    fields = {name: getattr(tensor, name) for name in ("type", "op", "buffer", "data", "name", "view_src")}
    fields |= {name: list(getattr(tensor, name)) for name in ("ne", "nb")}
    return {**fields, "src": [source for source in tensor.src if source is not None]}


def _unknown_layout() -> ImportanceMatrixError:
    return ImportanceMatrixError(
        "the installed llama.cpp keeps its tensors in a way this version of localllm does not know",
        hint="install the llama-cpp-python that localllm asks for, or make the matrix with llama-imatrix",
    )


@contextmanager
def _sample_tensors(base: Any) -> Iterator[dict[int, dict[str, Any]]]:
    """Make weights, inputs and the two products of them; yield what is known of each, by its address."""
    context = base.ggml_init(_InitParams(_WORK_BYTES, None, True))
    if not context:
        raise _unknown_layout()
    weights = base.ggml_set_name(base.ggml_new_tensor_3d(context, F32, 8, 5, 3), b"blk.0.sample.weight")
    inputs = base.ggml_new_tensor_3d(context, F32, 8, 2, 6)
    ids = base.ggml_new_tensor_2d(context, I32, 2, 6)
    dense = base.ggml_mul_mat(context, weights, inputs)
    routed = base.ggml_mul_mat_id(context, weights, inputs, ids)
    buffer = base.ggml_backend_alloc_ctx_tensors_from_buft(context, base.ggml_backend_cpu_buffer_type())
    samples: dict[int, dict[str, Any]] = {
        weights: {"type": F32, "ne": [8, 5, 3, 1], "nb": [4, 32, 160, 480], "src": []},
        ids: {"type": I32, "ne": [2, 6, 1, 1], "nb": [4, 8, 48, 48], "src": []},
        dense: {"type": F32, "ne": [5, 2, 6, 1], "nb": [4, 20, 40, 240], "src": [weights, inputs]},
        routed: {"type": F32, "ne": [5, 2, 6, 1], "nb": [4, 20, 40, 240], "src": [weights, inputs, ids]},
    }
    for address, known in samples.items():
        known |= {"buffer": buffer, "data": base.ggml_get_data(address)}
        known |= {"name": base.ggml_get_name(address), "view_src": None}
    try:
        yield samples
    finally:
        base.ggml_backend_buffer_free(buffer)
        base.ggml_free(context)


class _InitParams(ctypes.Structure):
    """struct ggml_init_params."""

    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


@functools.cache
def _base() -> Any:
    """Return ggml's base library with the signatures of the functions used here."""
    library = ggml()
    pointer, size, count, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, ctypes.c_char_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "ggml_tensor_overhead": (size, []),
        "ggml_init": (pointer, [_InitParams]),
        "ggml_free": (None, [pointer]),
        "ggml_new_tensor_2d": (pointer, [pointer, ctypes.c_int, count, count]),
        "ggml_new_tensor_3d": (pointer, [pointer, ctypes.c_int, count, count, count]),
        "ggml_mul_mat": (pointer, [pointer, pointer, pointer]),
        "ggml_mul_mat_id": (pointer, [pointer, pointer, pointer, pointer]),
        "ggml_set_name": (pointer, [pointer, text]),
        "ggml_get_name": (text, [pointer]),
        "ggml_get_data": (pointer, [pointer]),
        "ggml_op_name": (text, [ctypes.c_int]),
        "ggml_backend_cpu_buffer_type": (pointer, []),
        "ggml_backend_alloc_ctx_tensors_from_buft": (pointer, [pointer, pointer]),
        "ggml_backend_buffer_free": (None, [pointer]),
        "ggml_backend_buffer_is_host": (ctypes.c_bool, [pointer]),
        "ggml_backend_tensor_get": (None, [pointer, pointer, size, size]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name, None)
        if function is None:
            raise _unknown_layout()
        function.restype, function.argtypes = result, arguments
    return library
