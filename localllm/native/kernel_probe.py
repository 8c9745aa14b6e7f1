"""Finds out whether kernels and the installed ggml make the same bytes, once for each pair of the two.

A ggml whose compiler fused multiplications and additions makes others: in 29 % of the blocks of Q5_K, 23 % of
Q2_K and 6 % of Q4_K, but in few or none of the other types. So one type that differs decides for all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, TensorType
from localllm.native.library import ggml
from localllm.publication import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TYPES = ("Q5_K", "Q2_K", "Q4_K", "Q3_K", "Q6_K", "Q8_0")
_BLOCKS = 344  # of each type; whole groups for every instruction set
_SAME, _OTHER = "same", "other"

EncodeRows = Callable[
    ["NDArray[np.float32]", TensorType, "NDArray[np.uint8]", "NDArray[np.float32] | None"], bool
]


def agree(encode_rows: EncodeRows, identity: str) -> bool:
    """Tell whether `encode_rows` makes ggml's bytes; `identity` stands for what it calls.

    The answer is kept for as long as both libraries stay what they are.
    """
    place = _memory(identity)
    with suppress(OSError, ValueError):
        known = place.read_text(encoding="ascii")
        if known in (_SAME, _OTHER):
            return known == _SAME
    found = all(_agree_on(encode_rows, TENSOR_TYPES_BY_NAME[name]) for name in _TYPES)
    _remember(place, _SAME if found else _OTHER)
    return found


def _agree_on(encode_rows: EncodeRows, kind: TensorType) -> bool:
    import numpy as np

    rows = np.random.default_rng(5).standard_normal((1, _BLOCKS * kind.block_size), dtype=np.float32)
    own, theirs = (np.zeros((1, kind.row_bytes(rows.size)), dtype=np.uint8) for _ in range(2))
    if not encode_rows(rows, kind, own, None):
        return False
    ggml().ggml_quantize_chunk(kind.id, rows.ctypes.data, theirs.ctypes.data, 0, 1, rows.size, None)
    return bool(np.array_equal(own, theirs))


def _memory(identity: str) -> Path:
    """Return the file that keeps the answer for these kernels and the installed ggml."""
    import platformdirs

    library = Path(ggml()._name)
    try:
        status = library.stat()
        build = f"{library.resolve()} {status.st_size} {status.st_mtime_ns}"
    except OSError:
        build = str(library)
    name = hashlib.sha256(f"{identity}\n{build}".encode()).hexdigest()[:32]
    return Path(platformdirs.user_cache_dir("localllm", appauthor=False)) / "kernels" / name


def _remember(place: Path, answer: str) -> None:
    with suppress(OSError):  # then the next run finds out again
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as part:
            part.write_text(answer, encoding="ascii")
