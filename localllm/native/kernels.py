"""Quantizes rows with the kernels of `localllm.kernels` where their bytes are the installed ggml's.

They are used when they are there, undamaged, and agree with ggml on a probe. $LOCALLLM_KERNELS says with
which instructions (sse2, avx2, avx512), or `off`. In every other case ggml's own routines do the work, and
`Kernels.reason` tells why.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localllm.errors import UsageError
from localllm.gguf_file.format import TensorType
from localllm.kernels import DIGEST, LIBRARY
from localllm.native.kernel_probe import agree
from localllm.native.library import ggml

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VARIABLE = "LOCALLLM_KERNELS"
OFF = "off"
INSTRUCTIONS = {"sse2": 1, "avx2": 2, "avx512": 3}  # as the library numbers them, best last
_VERSION = 1
_NOT_BUILT = "not built: that takes an x86-64 processor and, at installation, a C compiler"
_FALLBACKS = {  # what takes the blocks that the kernels do not compute
    "Q8_0": "quantize_q8_0",
    "Q2_K": "quantize_q2_K",
    "Q3_K": "quantize_q3_K",
    "Q4_K": "quantize_q4_K",
    "Q5_K": "quantize_q5_K",
    "Q6_K": "quantize_q6_K",
}
TYPES = tuple(_FALLBACKS)

Encode = Callable[..., int]


class _UnusableError(Exception):
    """The kernels cannot be used; the message says why."""


@dataclass(frozen=True)
class Kernels:
    """The kernels in use: `name` is that of their instructions, or `off` for a `reason`."""

    name: str
    reason: str | None
    encode: Encode | None

    def encode_rows(
        self,
        rows: NDArray[np.float32],
        kind: TensorType,
        target: NDArray[np.uint8],
        importance: NDArray[np.float32] | None,
    ) -> bool:
        """Encode contiguous `rows`, shape (n, columns), to `target`, contiguous and of the right size.

        Return False, with nothing written, for what these kernels do not know.
        """
        if self.encode is None or kind.name not in _FALLBACKS:
            return False
        count, columns = rows.shape
        fallback = getattr(ggml(), _FALLBACKS[kind.name], None)
        if fallback is None:  # a ggml that keeps it to itself
            return False
        weights = None if importance is None else importance.ctypes.data
        return bool(
            self.encode(
                INSTRUCTIONS[self.name],
                kind.id,
                rows.ctypes.data,
                target.ctypes.data,
                count,
                columns,
                weights,
                ctypes.cast(fallback, ctypes.c_void_p),
            )
        )


def kernels() -> Kernels:
    """Return the kernels to use; the first call decides, which may take tens of milliseconds.

    Raise UsageError when $LOCALLLM_KERNELS says what cannot be.
    """
    return _decided(os.environ.get(VARIABLE, "").strip().lower())


def open_library(path: Path) -> Any:
    """Load a library of kernels that is known to be sound. Raise OSError or AttributeError for another."""
    library = ctypes.CDLL(str(path))
    if library.localllm_kernels_version() != _VERSION:
        raise AttributeError(f"{path} belongs to another version")
    library.localllm_encode.argtypes = [
        *(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ]
    return library


def instructions_of(library: Any) -> tuple[str, ...]:
    """Return the names of the instructions that this processor has; the best comes last."""
    best = library.localllm_best_lanes()
    return tuple(name for name, number in INSTRUCTIONS.items() if number <= best)


@functools.cache
def _decided(wanted: str) -> Kernels:
    known = (OFF, *INSTRUCTIONS)
    if wanted and wanted not in known:
        raise UsageError(
            f"{VARIABLE} is `{wanted}`", hint=f"it can be {', '.join(known[:-1])} or {known[-1]}"
        )
    if wanted == OFF:
        return Kernels(OFF, f"{VARIABLE} says so", None)
    try:
        library, digest = _library()
        here = instructions_of(library)
        if wanted and wanted not in here:
            raise UsageError(
                f"{VARIABLE} is `{wanted}`, which this processor does not have",
                hint=f"it has {', '.join(here)}",
            )
        chosen = Kernels(wanted or here[-1], None, library.localllm_encode)
        if not agree(chosen.encode_rows, f"{digest} {chosen.name}"):
            raise _UnusableError("the installed ggml was compiled so that it quantizes otherwise")
    except _UnusableError as error:
        return Kernels(OFF, str(error), None)
    return chosen


def _library() -> tuple[Any, str]:
    """Return the library and its digest. Raise _UnusableError; a damaged file is never loaded."""
    name = LIBRARY.name
    try:
        digest = hashlib.sha256(LIBRARY.read_bytes()).hexdigest()
        built = DIGEST.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        raise _UnusableError(_NOT_BUILT) from None
    except OSError as error:
        raise _UnusableError(f"{name} cannot be read: {error.strerror}") from None
    if digest != built:
        raise _UnusableError(f"{name} is not the file that was built; reinstall localllm")
    try:
        return open_library(LIBRARY), digest
    except (OSError, AttributeError):
        raise _UnusableError(f"{name} is for another system or version; reinstall localllm") from None
