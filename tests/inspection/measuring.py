"""Asks llama.cpp what a context takes, in a child process, because llama.cpp may abort."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from localllm.events import Emit
from localllm.native import logs
from localllm.native.library import llama
from localllm.native.worker import run_job

_MIB = 1024 * 1024
_CACHE = re.compile(r": size = +([\d.]+) MiB \(")  # of each cache, also of recurrent states
_COMPUTE = re.compile(r"compute buffer size = +([\d.]+) MiB")
_Q8_0 = 8


def measure(
    path: Path, contexts: list[int], *, cache: str = "F16", full_windows: bool = False
) -> list[dict[str, float]]:
    """Return for each context what llama.cpp would allocate: `cache` and `compute`, in bytes."""
    arguments = {"path": str(path), "contexts": contexts, "cache": cache, "full_windows": full_windows}
    found: list[dict[str, float]] = run_job("tests.inspection.measuring:measure_job", arguments)
    return found


def measure_job(arguments: dict[str, Any], emit: Emit) -> list[dict[str, float]]:
    """Serve `measure` in the child. Nothing is allocated, so that a model may be larger than the memory."""
    library = llama()
    params = library.llama_model_default_params()
    params.no_alloc, params.load_mode = True, 0
    model = library.llama_model_load_from_file(arguments["path"].encode(), params)
    if not model:
        raise RuntimeError(f"llama.cpp cannot load it: {logs.last_errors(3)}")
    return [_context(library, model, size, arguments) for size in arguments["contexts"]]


def _context(library: Any, model: Any, size: int, arguments: dict[str, Any]) -> dict[str, float]:
    params = library.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = size, 512, 512
    params.swa_full = arguments["full_windows"]
    if arguments["cache"] == "Q8_0":
        params.type_k = params.type_v = _Q8_0
    logs.clear()
    with logs.whole_log() as log:
        context = library.llama_init_from_model(model, params)
    text = b"".join(log).decode()
    if not context:
        raise RuntimeError(f"llama.cpp cannot make a context of {size}: {logs.last_errors(3)}")
    library.llama_free(context)
    return {
        "cache": sum(float(value) for value in _CACHE.findall(text)) * _MIB,
        "compute": sum(float(value) for value in _COMPUTE.findall(text)) * _MIB,
    }
