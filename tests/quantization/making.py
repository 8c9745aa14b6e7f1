"""Runs the quantizer on files, as the verbs do, and makes importance matrices for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.assembly import Recipe
from localllm.events import Emit, ignore
from localllm.gguf_file import read_header
from localllm.imatrix.matrix import ImportanceMatrix
from localllm.pipeline import open_source
from localllm.quantization.importance import Importances
from localllm.quantization.levels import LEVELS
from localllm.quantization.options import QuantizationOptions
from localllm.quantization.quantize import (
    QuantizationPlan,
    QuantizationResult,
    plan_quantization,
    quantize,
)


def plan(
    source: Path,
    levels: Sequence[str],
    directory: Path,
    *,
    options: QuantizationOptions | None = None,
    importances: Importances | None = None,
    emit: Emit = ignore,
) -> QuantizationPlan:
    """Plan files called after their levels in `directory`."""
    targets = [(LEVELS[name], directory / f"{name}.gguf") for name in levels]
    return plan_quantization(
        open_source(Recipe(source)), targets, options=options, importances=importances, emit=emit
    )


def make(
    source: Path,
    levels: Sequence[str],
    directory: Path,
    *,
    threads: int = 2,
    force: bool = True,
    **wishes: Any,
) -> list[QuantizationResult]:
    """Plan and make files called after their levels in `directory`."""
    return quantize(plan(source, levels, directory, **wishes), threads=threads, force=force)


def some_matrix(source: Path, seed: int = 7) -> dict[str, NDArray[np.float32]]:
    """Return importances for every matrix of a GGUF file, shape (matrices, columns)."""
    generator = np.random.default_rng(seed)
    return {
        tensor.name: generator.gamma(
            0.7, 1.0, (tensor.shape[2] if len(tensor.shape) > 2 else 1, tensor.shape[0])
        ).astype(np.float32)
        for tensor in read_header(source).tensors
        if len(tensor.shape) > 1 and not tensor.name.startswith(("token_embd", "output"))
    }


def written(entries: dict[str, NDArray[np.float32]], path: Path) -> Importances:
    """Write `entries` as a legacy imatrix file, which keeps values as they are, and return it read."""
    data = np.int32(len(entries)).tobytes()
    for name, values in entries.items():
        data += np.int32(len(name)).tobytes() + name.encode()
        data += np.int32(1).tobytes() + np.int32(values.size).tobytes() + values.astype("<f4").tobytes()
    path.write_bytes(data)
    found = Importances.read(path)
    assert isinstance(found.matrix, ImportanceMatrix)
    return found
