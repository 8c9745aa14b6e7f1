"""Quantizes a file with llama.cpp's own quantizer; to be run in a child process (see `worker`).

It reads, computes and writes in turn, and is what our own driver's files are held against.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localllm.events import Advanced, Emit, Finished, Started
from localllm.native import logs
from localllm.native.library import llama
from localllm.native.quantize_parameters import fill, refusal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STEP = "quantize"
_LOOK_SECONDS = 0.2


def quantize_file(
    source: Path,
    targets: Sequence[Path],
    file_type: int,
    options: Mapping[str, Any],
    *,
    matrix: Mapping[str, NDArray[np.float32]] | None,
    threads: int,
    memory_bytes: int,
    tensors: int,
    emit: Emit,
) -> None:
    """Quantize the model that begins in `source` to `targets`, several when it is split.

    `file_type` is llama.cpp's number of the level, `tensors` how many the model has; `options` and `matrix`
    are those of `quantize_parameters.fill`. About `memory_bytes` are taken for a tensor. Raise
    QuantizationError; partial files may then remain.
    """
    library = llama()
    params = library.llama_model_quantize_default_params()
    kept = fill(params, library, options, matrix)
    params.ftype, params.nthread, params.max_buf_size = file_type, threads, memory_bytes
    names = _names(targets)
    emit(Started(_STEP, tensors, "tensors"))
    logs.clear()
    with logs.whole_log() as log, _Progress(log, emit):
        status = library.llama_model_quantize(
            str(source).encode(), str(targets[0]).encode(), ctypes.byref(params)
        )
    del kept  # what `params` points to had to live until here
    if status != 0:
        for name in names:
            name.unlink(missing_ok=True)
        raise refusal(status)
    for name, target in zip(names, targets, strict=True):
        name.replace(target)
    emit(Finished(_STEP))


def _names(targets: Sequence[Path]) -> list[Path]:
    """Return the files that llama.cpp writes: of a split model it makes the names itself."""
    count = len(targets)
    if count == 1:
        return list(targets)
    first = targets[0]
    return [first.with_name(f"{first.name}-{n:05d}-of-{count:05d}.gguf") for n in range(1, count + 1)]


class _Progress:
    """Tells which tensor the quantizer is at, from its log, while it keeps this thread busy."""

    def __init__(self, log: Sequence[bytes], emit: Emit) -> None:
        self._log, self._emit = log, emit
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        seen = begun = 0
        while not self._done.wait(_LOOK_SECONDS):
            lines = self._log[seen : len(self._log)]
            seen += len(lines)
            new = [line for line in lines if line.startswith(b"[") and b"] " in line]
            begun += len(new)
            if new:
                name = new[-1].partition(b"] ")[2].split(b" ")[0].decode("utf-8", "replace")
                self._emit(Advanced(_STEP, begun - 1, name))
