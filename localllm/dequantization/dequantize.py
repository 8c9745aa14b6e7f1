"""The one entry: a checkpoint whose quantized weights are computed, whatever method quantized them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from localllm.checkpoint import Checkpoint, Tensor
from localllm.dequantization import bitsandbytes, compressed_tensors, float8, gptq
from localllm.dequantization.methods import (
    quantization_method,
    quantization_settings,
    unsupported,
    without_settings,
)

Reader = Callable[[Checkpoint, Mapping[str, Any]], dict[str, Tensor]]
_READERS: dict[str, Reader] = {
    "bitsandbytes": bitsandbytes.weights,
    "compressed-tensors": compressed_tensors.weights,
    "fp8": float8.weights,
    "gptq": gptq.weights,
}


def dequantized(checkpoint: Checkpoint) -> Checkpoint:
    """Return `checkpoint` itself if it is not quantized or as GGUF files are, else one of plain weights.

    Its quantized weights are derived tensors of float32 under their plain names (`X.weight`), equal to what
    the method's own dequantizer gives, bit for bit; their native dtype is the 16-bit type the model computes
    in. Scales and other tables are gone, and so are the settings in config.json.
    Raise UnsupportedModelError for a method that is not read, CheckpointError for parts that are missing or
    do not fit together.
    """
    method = _method(checkpoint)
    if method is None or _is_kept(checkpoint, method):
        return checkpoint
    reader = _READERS.get(method)
    if reader is None:
        raise unsupported(checkpoint, method)
    tensors = reader(checkpoint, quantization_settings(checkpoint.config))
    return replace(checkpoint, config=without_settings(checkpoint.config), tensors=tensors)


def _is_kept(checkpoint: Checkpoint, method: str) -> bool:
    """Tell whether GGUF files hold the same numbers in the same blocks: nothing has to be computed."""
    return method == "mxfp4" and any(
        tensor.dtype == "U8" and name.endswith("_blocks") for name, tensor in checkpoint.tensors.items()
    )


def _method(checkpoint: Checkpoint) -> str | None:
    """Return the method config.json names, or the one that shows: some tools lose the settings."""
    method = quantization_method(checkpoint.config)
    if method is None and any(bitsandbytes.STATE in name for name in checkpoint.tensors):
        return "bitsandbytes"
    if method is None and checkpoint.file("hf_quant_config.json") is not None:
        return "modelopt"
    return method
