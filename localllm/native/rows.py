"""Encodes, decodes and validates rows of weights with ggml's own routines or their equal, byte for byte.

Other threads run while ggml works.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from localllm.gguf_file.format import TensorType
from localllm.native.kernels import kernels
from localllm.native.library import ggml, ggml_cpu

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DECODERS = {"F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}


def encode_rows(
    rows: NDArray[np.float32],
    kind: TensorType,
    target: NDArray[np.uint8] | None = None,
    importance: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Encode float32 `rows`, shape (n, columns), as `kind`; return the bytes, shape (n, row bytes).

    `columns` must be a multiple of the type's block size. `importance` weighs the errors of each column,
    shape (columns,). The bytes are those of ggml_quantize_chunk, also for F16 and BF16 (round to nearest
    even). They are written to `target` when there is one: contiguous, of the shape returned.
    """
    import numpy as np

    source = np.ascontiguousarray(rows, dtype=np.float32)
    count, columns = source.shape
    shape = (count, kind.row_bytes(columns))
    if target is None:
        target = np.empty(shape, dtype=np.uint8)
    elif target.shape != shape or not target.flags.c_contiguous:
        raise ValueError(f"the target has shape {target.shape}, not {shape}, or is not contiguous")
    convert = getattr(ggml_cpu(), "ggml_cpu_fp32_to_fp16", None) if kind.name == "F16" else None
    if convert is not None:  # rounds the same way, eight times as fast
        convert(source.ctypes.data, target.ctypes.data, source.size)
        return target
    weights = _importance(importance, columns)
    if kernels().encode_rows(source, kind, target, weights):
        return target
    written = ggml().ggml_quantize_chunk(
        kind.id,
        source.ctypes.data,
        target.ctypes.data,
        0,
        count,
        columns,
        None if weights is None else weights.ctypes.data,
    )
    if written != target.nbytes:
        raise ValueError(f"ggml wrote {written} bytes of {kind.name}, not {target.nbytes}")
    return target


def decode_rows(data: NDArray[np.uint8], kind: TensorType, target: NDArray[np.float32]) -> None:
    """Write the weights that `data`, whole contiguous rows of `kind`, stands for to `target`, as float32.

    Raise ValueError for a type that ggml cannot decode or a target of another size.
    """
    if data.nbytes * kind.block_size != target.size * kind.block_bytes or not target.flags.c_contiguous:
        raise ValueError(f"{data.nbytes} bytes of {kind.name} do not make {target.size} weights")
    if kind.name == "F32":
        target.reshape(-1)[:] = data.reshape(-1).view("<f4")
        return
    _decoder(kind)(data.ctypes.data, target.ctypes.data, target.size)


def are_valid_rows(data: NDArray[np.uint8], kind: TensorType) -> bool:
    """Tell whether ggml finds neither NaN nor infinity in `data`, whole contiguous rows of `kind`."""
    return bool(ggml().ggml_validate_row_data(kind.id, data.ctypes.data, data.nbytes))


def _importance(importance: NDArray[np.float32] | None, columns: int) -> NDArray[np.float32] | None:
    import numpy as np

    if importance is None:
        return None
    if importance.shape != (columns,):
        raise ValueError(f"the importance has shape {importance.shape}, not ({columns},)")
    return np.ascontiguousarray(importance, dtype=np.float32)


def _decoder(kind: TensorType) -> Any:
    name = _DECODERS.get(kind.name) or f"dequantize_row_{_ggml_name(kind)}"
    try:
        decoder = getattr(ggml(), name)
    except AttributeError:
        raise ValueError(f"ggml cannot decode {kind.name}") from None
    decoder.restype = None
    decoder.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    return decoder


def _ggml_name(kind: TensorType) -> str:
    """Return the type as ggml's function names write it: `q4_K`, but `iq2_xxs`."""
    lower = kind.name.lower()
    return lower[:-1] + "K" if lower.endswith("_k") else lower
