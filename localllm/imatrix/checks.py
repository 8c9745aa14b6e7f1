"""What both readers check of a file, and how they say what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localllm.errors import ImportanceMatrixError
from localllm.gguf_file import FileSource
from localllm.machine import available_memory_bytes
from localllm.units import format_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAKE_AGAIN = "make it again with `localllm imatrix`, or fetch it again"


def unusable(file: FileSource, reason: str, hint: str = _MAKE_AGAIN) -> ImportanceMatrixError:
    """Return the error for a file that cannot be used."""
    return ImportanceMatrixError(f"{file.label}: {reason}", hint=hint)


def require_memory(file: FileSource, size_bytes: int) -> None:
    """Raise ImportanceMatrixError when `size_bytes` do not fit into memory; a file may be mostly holes."""
    available = available_memory_bytes()
    if size_bytes > available:
        raise unusable(
            file,
            f"its numbers take {format_bytes(size_bytes)}, but only {format_bytes(available)} are free",
            hint="close other programs, or use a machine with more memory",
        )


def read_floats(file: FileSource, offset: int, count: int, what: str) -> NDArray[np.float32]:
    """Read `count` numbers, shape (count,): sums or counts of `what`, so finite and not negative."""
    import numpy as np

    data = file.read_at(offset, 4 * count)
    if len(data) != 4 * count:
        raise unusable(file, f"the file is truncated inside `{what}`")
    numbers: NDArray[np.float32] = np.frombuffer(data, "<f4")
    if not np.isfinite(numbers).all():
        raise unusable(file, f"`{what}` holds numbers that are not finite")
    if count and numbers.min() < 0:
        raise unusable(file, f"`{what}` holds negative numbers, which sums of squares cannot be")
    return numbers
