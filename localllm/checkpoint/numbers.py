"""Number formats of checkpoints that numpy does not have: widened to float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_float32(values: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Widen what a tensor of `dtype` was read as to float32: exact, but for float64 and large integers."""
    if dtype == "BF16" and values.dtype == np.uint16:  # its bits are float32's upper half
        widened: NDArray[np.float32] = np.left_shift(values, 16, dtype=np.uint32).view(np.float32)
        return widened
    if dtype in ("F8_E4M3", "F8_E5M2"):
        looked_up: NDArray[np.float32] = _float8_values(dtype)[values]
        return looked_up
    with np.errstate(over="ignore"):
        converted: NDArray[np.float32] = values.astype(np.float32, copy=False)
    return converted


def _float8_values(dtype: str) -> NDArray[np.float32]:
    """Return what each of the 256 codes stands for (Micikevicius et al. 2022, arXiv:2209.05433).

    E4M3: bias 7, no infinity, NaN at 0x7f and 0xff. E5M2: the upper half of a float16.
    """
    codes = np.arange(256, dtype=np.uint16)
    if dtype == "F8_E5M2":
        return (codes << 8).view(np.float16).astype(np.float32)
    exponent, mantissa = (codes >> 3) & 15, (codes & 7).astype(np.float32)
    normal = (1 + mantissa / 8) * np.exp2(exponent.astype(np.float32) - 7)
    values = np.where(exponent == 0, mantissa * np.float32(2**-9), normal)
    values[(codes & 0x7F) == 0x7F] = np.nan
    return np.where(codes & 0x80, -values, values).astype(np.float32)
