"""How llama.cpp's quantizer is told what to do: its parameters from our options, and its refusals."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from localllm.errors import QuantizationError
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.native import logs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LATER_LLAMA_CPP = "a later llama.cpp may know it: `pip install --upgrade llama-cpp-python`"
_HINTS = {
    "unknown model architecture": LATER_LLAMA_CPP,
    "key not found in model": "convert or download the model again",
}
_UNSET = 2**31 - 1  # any number beyond the last type means "not given"
_OVERRIDE_TAGS = {"int": 0, "float": 1, "bool": 2, "str": 3}  # enum llama_model_kv_override_type


def refusal(status: int) -> QuantizationError:
    """Return the error for what llama.cpp's log says last."""
    reason = next(iter(logs.last_errors()), f"status {status}").removeprefix("failed to quantize: ")
    return QuantizationError(f"llama.cpp refuses: {reason}", hint=_HINTS.get(reason.partition(":")[0]))


def fill(
    params: Any,
    library: Any,
    options: Mapping[str, Any],
    matrix: Mapping[str, NDArray[np.float32]] | None = None,
) -> list[Any]:
    """Set what `options` ask for; return what `params` then points to, which must outlive its use.

    `options`, all of them optional: `tensor_types`, pairs of a pattern and a type's name; `output_type`,
    `token_embedding_type`; `pure`, `leave_output`, `keep_split`, `allow_requantize`; `prune_layers`, numbers
    in ascending order; `overrides`, triples of a key, one of int, float, bool and str, and a value;
    `has_matrix`, for a dry run as with an importance matrix. `matrix` has the mean squares by weight name.
    """
    params.pure = options.get("pure", False)
    params.keep_split = options.get("keep_split", False)
    params.quantize_output_tensor = not options.get("leave_output", False)
    params.allow_requantize = options.get("allow_requantize", False)
    params.output_tensor_type = _type_id(options.get("output_type"))
    params.token_embedding_type = _type_id(options.get("token_embedding_type"))
    arrays = {
        "tt_overrides": _tensor_types(library, options.get("tensor_types")),
        "kv_overrides": _overrides(library, options.get("overrides")),
        "prune_layers": _layers(options.get("prune_layers")),
        "imatrix": _some_matrix(library) if options.get("has_matrix") else None,
    }
    if matrix is not None:
        arrays["imatrix"] = _matrix(library, matrix)
    for field, array in arrays.items():
        if array is not None:
            setattr(params, field, ctypes.cast(array, type(getattr(params, field))))
    return [*arrays.values(), matrix]


def _type_id(name: str | None) -> int:
    return _UNSET if name is None else TENSOR_TYPES_BY_NAME[name].id


def _tensor_types(library: Any, pairs: Sequence[tuple[str, str]] | None) -> Any:
    if not pairs:
        return None
    array = (library.llama_model_tensor_override * (len(pairs) + 1))()
    for item, (pattern, kind) in zip(array, pairs, strict=False):
        item.pattern, item.type = pattern.encode(), _type_id(kind)
    return array


def _overrides(library: Any, overrides: Sequence[tuple[str, str, Any]] | None) -> Any:
    if not overrides:
        return None
    array = (library.llama_model_kv_override * (len(overrides) + 1))()
    for item, (key, kind, value) in zip(array, overrides, strict=False):
        item.key, item.tag = key.encode(), _OVERRIDE_TAGS[kind]
        if kind == "int":
            item.value.val_i64 = value
        elif kind == "float":
            item.value.val_f64 = value
        elif kind == "bool":
            item.value.val_bool = value
        else:
            item.value.val_str = value.encode()
    return array


def _layers(numbers: Sequence[int] | None) -> Any:
    return (ctypes.c_int32 * (len(numbers) + 1))(*numbers, -1) if numbers else None


def _some_matrix(library: Any) -> Any:
    """Return an importance matrix without a useful entry: that there is one changes the choice of types."""
    array = (library.llama_model_imatrix_data * 2)()
    array[0].name, array[0].size = b"any", 1
    array[0].data = ctypes.pointer(ctypes.c_float(1.0))
    return array


def _matrix(library: Any, matrix: Mapping[str, NDArray[np.float32]]) -> Any:
    array = (library.llama_model_imatrix_data * (len(matrix) + 1))()
    for item, (name, values) in zip(array, matrix.items(), strict=False):
        item.name, item.size = name.encode(), values.size
        item.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    return array
