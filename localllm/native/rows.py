"""Encodes rows of weights with ggml's own routines, so that the bytes are ggml's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localllm.gguf_file.format import TensorType
from localllm.native.library import ggml

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def encode_rows(rows: NDArray[np.float32], kind: TensorType) -> NDArray[np.uint8]:
    """Encode float32 `rows`, shape (n, columns), as `kind`; return the bytes, shape (n, row bytes).

    `columns` must be a multiple of the type's block size. Calls ggml_quantize_chunk without an
    importance matrix, which also covers F16 and BF16 (round to nearest even).
    """
    import numpy as np

    source = np.ascontiguousarray(rows, dtype=np.float32)
    count, columns = source.shape
    target = np.empty((count, kind.row_bytes(columns)), dtype=np.uint8)
    written = ggml().ggml_quantize_chunk(
        kind.id, source.ctypes.data, target.ctypes.data, 0, count, columns, None
    )
    if written != target.nbytes:
        raise ValueError(f"ggml wrote {written} bytes of {kind.name}, not {target.nbytes}")
    return target
