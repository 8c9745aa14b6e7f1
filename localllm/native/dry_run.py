"""Asks llama.cpp's quantizer which type it would give each tensor; runs in a child process (see `worker`).

The child is started before it is needed, so that it loads llama.cpp while the parent finds out what to ask,
and it answers while the parent does something else.

A dry run reads a file's header and no weights, and says what it decides in its log: a line per tensor,
`[   1/ 147] output.weight - [ 2048, 32000, 1, 1], type = f16, size = ... -> ... (q6_K)`.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from localllm.events import Emit
from localllm.native import logs
from localllm.native.library import Device, devices, llama
from localllm.native.quantize_parameters import fill, refusal
from localllm.native.worker import Worker

_TENSOR = re.compile(
    rb"\[ *\d+/ *\d+\] (?P<name>.+?) +- \[[^\]]*\], type = +(?P<old>\w+), "
    rb"size = [^\n]*?MiB(?: -> [^\n]*?\((?P<new>\w+)\))?\n"
)
_FALLBACKS = re.compile(rb"(\d+) of \d+ tensor\(s\) required fallback")


@dataclass(frozen=True)
class Decisions:
    """What llama.cpp would do at one level: names in the order of the file, each with its type.

    `fallbacks` counts the tensors that did not fit the block of the type first chosen for them.
    """

    names: list[str]
    types: list[str]
    fallbacks: int


@dataclass(frozen=True)
class DryRun:
    """The decisions for each file type asked for, and the devices llama.cpp could run the model on."""

    decisions: list[Decisions]
    devices: list[Device]


class Quantizer:
    """llama.cpp's quantizer in a child process. Leaving the context manager ends it."""

    def __init__(self) -> None:
        self._worker = Worker()
        self._worker.begin("localllm.native.dry_run:load_job", {})

    def __enter__(self) -> Quantizer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.__exit__(kind, error, trace)

    def hand_over(self) -> Worker:
        """Return the child, in which llama.cpp is loaded, for another job; whoever takes it ends it."""
        return self._worker

    def begin(self, path: Path, file_types: Sequence[int], options: Mapping[str, Any]) -> None:
        """Run the quantizer dry on `path`, once for each of `file_types` (llama.cpp's ftype numbers).

        `options` are those of `quantize_parameters.fill`.
        """
        arguments = {"path": str(path), "file_types": list(file_types), "options": dict(options)}
        self._worker.begin("localllm.native.dry_run:dry_run_job", arguments)

    def result(self) -> DryRun:
        """Return what the one dry run begun came to. Raise QuantizationError with llama.cpp's reason."""
        self._worker.result()  # of loading
        found = self._worker.result()
        return DryRun(
            [Decisions(**one) for one in found["decisions"]], [Device(**one) for one in found["devices"]]
        )


def load_job(arguments: dict[str, Any], emit: Emit) -> None:
    """Load llama.cpp ahead of the job that needs it."""
    llama()


def dry_run_job(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Serve `Quantizer.begin` in the child."""
    path, options = arguments["path"], arguments["options"]
    decisions = [vars(_decide(path, file_type, options)) for file_type in arguments["file_types"]]
    return {"decisions": decisions, "devices": [vars(device) for device in devices()]}


def _decide(path: str, file_type: int, options: Mapping[str, Any]) -> Decisions:
    library = llama()
    params = library.llama_model_quantize_default_params()
    kept = fill(params, library, options)
    params.allow_requantize = True  # a dry run says what would be; whether it may be is decided elsewhere
    params.ftype, params.dry_run, params.nthread = file_type, True, 1
    logs.clear()
    with logs.whole_log() as log:
        status = library.llama_model_quantize(path.encode(), b"", ctypes.byref(params))
    del kept  # what `params` points to had to live until here
    if status != 0:
        raise refusal(status)
    return _read(b"".join(log))


def _read(log: bytes) -> Decisions:
    lines = list(_TENSOR.finditer(log))
    fallbacks = _FALLBACKS.search(log)
    return Decisions(
        [line["name"].decode("utf-8", "replace") for line in lines],
        [(line["new"] or line["old"]).decode().upper() for line in lines],
        int(fallbacks[1]) if fallbacks else 0,
    )
