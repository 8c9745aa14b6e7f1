"""Checkpoints whose projections are 8-bit floats with scales, as DeepSeek and Mistral publish them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from localllm.checkpoint.numbers import as_float32
from tests.conversion.tiny_llama import Tensors, cast, edit_json, write_safetensors


def write_eight_bits(
    directory: Path, tensors: Tensors, dtype: str, block: int | None, *, activations: bool = False
) -> Tensors:
    """Write `tensors` with other projections: random codes, and scales for blocks or for whole matrices.

    Return what their values are; `activations` adds scales of their inputs.
    """
    plain: Tensors = dict(tensors)
    stored: dict[str, tuple[str, Any]] = {}
    random = np.random.default_rng(5)
    for name, values in tensors.items():
        if not name.endswith("_proj.weight"):
            stored[name] = (dtype, cast(values, dtype))
            continue
        codes = random.integers(0, 0x78, values.shape, np.uint8)
        codes |= random.choice(np.array([0, 0x80], np.uint8), values.shape)
        rows, columns = values.shape
        grid = (-(-rows // block), -(-columns // block)) if block else ()
        scales = np.exp2(random.integers(-12, -9, grid)).astype("<f4")
        over = np.kron(scales, np.ones((block, block), np.float32))[:rows, :columns] if block else scales
        plain[name] = as_float32(codes, "F8_E4M3") * over
        stored[name] = ("F8_E4M3", codes)
        stored[f"{name}_scale_inv"] = ("F32", scales)
        if activations:
            stored[f"{name.removesuffix('weight')}activation_scale"] = ("F32", np.array(1.5, "<f4"))
    write_safetensors(directory / "model.safetensors", stored)
    sizes = None if block is None else [block, block]
    settings: Mapping[str, Any] = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": sizes}
    edit_json(directory / "config.json", quantization_config=settings)
    return plain
