"""The 16-bit format a model computes in, and rounding to it as torch does: to nearest, ties to even."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Checkpoint, Tensor

HALVES = ("BF16", "F16")
# torch's names of the dtypes, as config.json and bitsandbytes write them
TORCH_DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


def compute_dtype(checkpoint: Checkpoint, scales: Tensor) -> str:
    """Return the 16-bit dtype the model computes in.

    It is config.json's, else that of the scales, else that of the other weights, else bfloat16.
    """
    for section in (checkpoint.config, checkpoint.config.get("text_config")):
        for key in ("dtype", "torch_dtype"):
            name = section.get(key) if isinstance(section, Mapping) else None
            dtype = TORCH_DTYPES.get(name.removeprefix("torch.")) if isinstance(name, str) else None
            if dtype in HALVES:
                return dtype
    if scales.dtype in HALVES:
        return scales.dtype
    others = (tensor.dtype for tensor in checkpoint.tensors.values() if len(tensor.shape) >= 2)
    return next((dtype for dtype in others if dtype in HALVES), "BF16")


def rounded(values: NDArray[np.float32], dtype: str) -> NDArray[np.float32]:
    """Return `values` rounded to what `dtype` (BF16 or F16) can hold; for others unchanged."""
    if dtype == "F16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    if dtype != "BF16":
        return values
    bits: NDArray[Any] = values.view(np.uint32)
    nearest = bits >> 16
    nearest &= 1
    nearest += np.uint32(0x7FFF)
    nearest += bits
    nearest &= np.uint32(0xFFFF0000)
    result: NDArray[np.float32] = nearest.view(np.float32)
    not_numbers = np.isnan(values)
    if not_numbers.any():  # those that carried over would come back as numbers
        result[not_numbers] = np.nan
    return result
