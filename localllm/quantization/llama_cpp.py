"""Writes a level with llama.cpp's own quantizer, in a child process, instead of with `writing`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localllm.errors import UsageError
from localllm.events import Emit
from localllm.gguf_file.format import DEFAULT_ALIGNMENT, Key
from localllm.imatrix.reading import read_imatrix
from localllm.native.quantizing import quantize_file
from localllm.native.worker import run_job
from localllm.quantization import gguf_source
from localllm.quantization.engine import QuantizationEngine
from localllm.quantization.options import Override, QuantizationOptions
from localllm.quantization.plan import LevelPlan
from localllm.quantization.source import QuantizationSource
from localllm.quantization.writing import Target

_MEMORY_BYTES = 1024**3


def require_readable(source: QuantizationSource, engine: QuantizationEngine) -> None:
    """Raise UsageError for a checkpoint when llama.cpp is to quantize, which cannot read it."""
    if engine is QuantizationEngine.LLAMA_CPP and source.weights["kind"] != gguf_source.KIND:
        raise UsageError(
            "llama.cpp's quantizer reads GGUF files only",
            hint="`localllm convert` makes one; or leave out `--engine`: the bytes are the same",
        )


def write_level(
    source: QuantizationSource,
    plan: LevelPlan,
    targets: Sequence[Target],
    options: QuantizationOptions,
    *,
    provenance: Sequence[Override],
    matrix: Path | None,
    threads: int,
    max_memory_bytes: int | None,
    emit: Emit,
) -> float:
    """Write the files of `plan` to its `targets`; return the seconds it took.

    `provenance` is what the files say about the importance matrix in the file `matrix`. Raise
    QuantizationError or NativeCrashError; partial files may then remain.
    """
    overrides = [(each.key, each.kind, each.value) for each in (*options.overrides, *provenance)]
    if source.headers[0].alignment != DEFAULT_ALIGNMENT:  # it copies the key but aligns to 32 bytes
        overrides.insert(0, (Key.ALIGNMENT, "int", DEFAULT_ALIGNMENT))
    arguments = {
        "source": source.weights["paths"][0],
        "targets": [str(target.part) for target in targets],
        "file_type": plan.level.file_type,
        "options": {**options.for_dry_run(), "overrides": overrides},
        "matrix": None if matrix is None else str(matrix),
        "threads": threads,
        "memory_bytes": max_memory_bytes or _MEMORY_BYTES,
        "tensors": sum(1 for _ in plan.tensors),
    }
    return float(run_job("localllm.quantization.llama_cpp:write_job", arguments, emit=emit))


def write_job(arguments: dict[str, Any], emit: Emit) -> float:
    """Serve `write_level` in the child."""
    begin = time.perf_counter()
    matrix = read_imatrix(Path(arguments["matrix"])) if arguments["matrix"] else None
    quantize_file(
        Path(arguments["source"]),
        [Path(target) for target in arguments["targets"]],
        arguments["file_type"],
        arguments["options"],
        matrix=None if matrix is None else matrix.entries,
        threads=arguments["threads"],
        memory_bytes=arguments["memory_bytes"],
        tensors=arguments["tensors"],
        emit=emit,
    )
    return time.perf_counter() - begin
