"""Memory that is used again: touching fresh memory costs more than most of the work done on a piece."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Workspace:
    """Arrays for one piece at a time, each kept under the name of its use, grown when a piece is larger."""

    def __init__(self) -> None:
        self._held: dict[str, NDArray[np.uint8]] = {}

    def array(self, use: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array with arbitrary content; it shares its memory with the last one for `use`."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return self._bytes(use, size).view(dtype).reshape(shape)

    def scratch(self, size_bytes: int) -> memoryview:
        """Return bytes to read into."""
        return self._bytes("scratch", size_bytes).data

    def _bytes(self, use: str, size: int) -> NDArray[np.uint8]:
        held = self._held.get(use)
        if held is None or held.nbytes < size:
            held = self._held[use] = np.empty(size, np.uint8)
        return held[:size]
