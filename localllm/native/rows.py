"""Encodes rows of weights with ggml's own routines, so that the bytes are ggml's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localllm.gguf_file.format import TensorType
from localllm.native.library import ggml, ggml_cpu

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def encode_rows(
    rows: NDArray[np.float32], kind: TensorType, target: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Encode float32 `rows`, shape (n, columns), as `kind`; return the bytes, shape (n, row bytes).

    `columns` must be a multiple of the type's block size. The bytes are those of ggml_quantize_chunk
    without an importance matrix, also for F16 and BF16 (round to nearest even). They are written to
    `target` when there is one: contiguous, of the shape returned. Other threads run meanwhile.
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
    written = ggml().ggml_quantize_chunk(
        kind.id, source.ctypes.data, target.ctypes.data, 0, count, columns, None
    )
    if written != target.nbytes:
        raise ValueError(f"ggml wrote {written} bytes of {kind.name}, not {target.nbytes}")
    return target
