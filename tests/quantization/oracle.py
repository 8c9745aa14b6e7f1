"""llama.cpp's own quantizer, called as a C program would: what our files must equal, byte for byte."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.native import logs
from localllm.native.library import llama
from localllm.quantization.levels import LEVELS, Level
from localllm.quantization.options import Override

MATRIX_LEVELS = ("Q2_K_S", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS")
FREE_LEVELS = tuple(name for name in LEVELS if name not in MATRIX_LEVELS)


def llama_cpps_own(
    source: Path,
    target: Path,
    level: Level,
    *,
    tensor_types: tuple[tuple[str, str], ...] = (),
    output_type: str | None = None,
    token_embedding_type: str | None = None,
    pure: bool = False,
    leave_output: bool = False,
    allow_requantize: bool = False,
    keep_split: bool = False,
    prune_layers: tuple[int, ...] = (),
    overrides: tuple[Override, ...] = (),
    matrix: Mapping[str, NDArray[np.float32]] | None = None,
    dry_run: bool = False,
) -> str:
    """Quantize with llama_model_quantize and return its log."""
    library: Any = llama()
    params = library.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.dry_run = level.file_type, 2, dry_run
    params.pure, params.allow_requantize, params.keep_split = pure, allow_requantize, keep_split
    params.quantize_output_tensor = not leave_output
    if output_type:
        params.output_tensor_type = TENSOR_TYPES_BY_NAME[output_type].id
    if token_embedding_type:
        params.token_embedding_type = TENSOR_TYPES_BY_NAME[token_embedding_type].id
    if tensor_types:
        types = (library.llama_model_tensor_override * (len(tensor_types) + 1))()
        for index, (pattern, kind) in enumerate(tensor_types):
            types[index].pattern, types[index].type = pattern.encode(), TENSOR_TYPES_BY_NAME[kind].id
        params.tt_overrides = types
    if prune_layers:
        params.prune_layers = (ctypes.c_int32 * (len(prune_layers) + 1))(*prune_layers, -1)
    if overrides:
        params.kv_overrides = _overrides(library, overrides)
    if matrix is not None:
        entries = (library.llama_model_imatrix_data * (len(matrix) + 1))()
        for index, (name, values) in enumerate(matrix.items()):
            entries[index].name, entries[index].size = name.encode(), values.size
            entries[index].data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        params.imatrix = entries
    logs.clear()
    status = library.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    log = "".join(line.text for line in logs.take())
    assert status == 0, log
    return log


def _overrides(library: Any, overrides: tuple[Override, ...]) -> Any:
    array = (library.llama_model_kv_override * (len(overrides) + 1))()
    for item, override in zip(array, overrides, strict=False):
        item.key = override.key.encode()
        if override.kind == "int":
            item.tag, item.value.val_i64 = 0, int(override.value)
        elif override.kind == "float":
            item.tag, item.value.val_f64 = 1, float(override.value)
        elif override.kind == "bool":
            item.tag, item.value.val_bool = 2, bool(override.value)
        else:
            item.tag, item.value.val_str = 3, str(override.value).encode()
    return array
