"""Calls llama.cpp's quantizer; runs in a child process (see `worker`).

The quantizer reports only through its log, so a thread reads the log and turns `[ 12/ 147]` lines
into progress. It writes straight to the path it is given: callers pass a part file.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localllm.errors import QuantizationError
from localllm.events import Advanced, Emit, ignore
from localllm.native import logs
from localllm.native.library import llama
from localllm.native.worker import run_job

_PROGRESS = re.compile(r"\[\s*(\d+)/\s*(\d+)\]\s+(\S+)")
_FALLBACKS = re.compile(r"(\d+) of \d+ tensor\(s\) required fallback")
_POLL_SECONDS = 0.05
_WRITTEN_ALIGNMENT = 32
_OVERRIDE_INT = 0  # LLAMA_KV_OVERRIDE_TYPE_INT


def quantize_file(
    source: Path,
    target: Path,
    *,
    file_type: int,
    threads: int,
    source_alignment: int,
    step: str,
    emit: Emit = ignore,
) -> int:
    """Quantize `source` to `target` in a child process; `file_type` is llama.cpp's ftype number.

    Return how many tensors did not fit the block of the type chosen for them. Progress is emitted under
    `step`, in tensors. Raise QuantizationError with llama.cpp's reason; a partial target may then remain.
    """
    arguments = {
        "source": str(source),
        "target": str(target),
        "file_type": file_type,
        "threads": threads,
        "realign": source_alignment != _WRITTEN_ALIGNMENT,
        "step": step,
    }
    return int(run_job("localllm.native.quantize:quantize_job", arguments, emit=emit))


def quantize_job(arguments: dict[str, Any], emit: Emit) -> int:
    """Serve `quantize_file` in the child."""
    library = llama()
    logs.clear()
    params = library.llama_model_quantize_default_params()
    params.ftype = arguments["file_type"]
    params.nthread = arguments["threads"]
    overrides = _alignment_override(library)
    if arguments["realign"]:
        params.kv_overrides = ctypes.cast(overrides, type(params.kv_overrides))
    with _progress(arguments["step"], emit):
        status = library.llama_model_quantize(
            arguments["source"].encode(), arguments["target"].encode(), ctypes.byref(params)
        )
    if status != 0:
        reason = next(iter(logs.last_errors()), f"status {status}")
        raise QuantizationError(f"llama.cpp cannot quantize {arguments['source']}: {_plain(reason)}")
    counts = (_FALLBACKS.search(line.text) for line in logs.recent())
    return next((int(match[1]) for match in counts if match), 0)


def _alignment_override(library: Any) -> Any:
    """Set `general.alignment` to 32, for sources that say otherwise.

    The quantizer pads to 32 whatever the source says but copies the key: the result would be
    unloadable.
    """
    overrides = (library.llama_model_kv_override * 2)()
    overrides[0].key = b"general.alignment"
    overrides[0].tag = _OVERRIDE_INT
    overrides[0].value.val_i64 = _WRITTEN_ALIGNMENT
    return overrides


@contextmanager
def _progress(step: str, emit: Emit) -> Iterator[None]:
    """Emit an event for every tensor the log mentions, while the body runs."""
    finished = threading.Event()
    reader = threading.Thread(target=_read_progress, args=(step, emit, finished), daemon=True)
    reader.start()
    try:
        yield
    finally:
        finished.set()
        reader.join()


def _read_progress(step: str, emit: Emit, finished: threading.Event) -> None:
    last = False
    while not last:
        last = finished.wait(_POLL_SECONDS)
        for line in logs.take():
            match = _PROGRESS.search(line.text)
            if match:
                emit(Advanced(step, int(match[1]), match[3]))


def _plain(reason: str) -> str:
    return reason.removeprefix("failed to quantize: ")
