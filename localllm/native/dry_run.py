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

from localllm.errors import QuantizationError
from localllm.events import Emit
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.native import logs
from localllm.native.library import Device, devices, llama
from localllm.native.worker import Worker

_TENSOR = re.compile(
    rb"\[ *\d+/ *\d+\] (?P<name>.+?) +- \[[^\]]*\], type = +(?P<old>\w+), "
    rb"size = [^\n]*?MiB(?: -> [^\n]*?\((?P<new>\w+)\))?\n"
)
_FALLBACKS = re.compile(rb"(\d+) of \d+ tensor\(s\) required fallback")
LATER_LLAMA_CPP = "a later llama.cpp may know it: `pip install --upgrade llama-cpp-python`"
_HINTS = {
    "unknown model architecture": LATER_LLAMA_CPP,
    "key not found in model": "convert or download the model again",
}
_UNSET = 2**31 - 1  # any number beyond the last type means "not given"
_OVERRIDE_TAGS = {"int": 0, "float": 1, "bool": 2, "str": 3}  # enum llama_model_kv_override_type


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

    def begin(self, path: Path, file_types: Sequence[int], options: Mapping[str, Any]) -> None:
        """Run the quantizer dry on `path`, once for each of `file_types` (llama.cpp's ftype numbers).

        `options`, all of them optional: `tensor_types`, pairs of a pattern and a type's name; `output_type`,
        `token_embedding_type`; `pure`, `leave_output`, `keep_split`, `has_matrix`; `prune_layers`, numbers in
        ascending order; `overrides`, triples of a key, one of int, float, bool and str, and a value.
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
    kept = _fill(params, library, options)
    params.ftype, params.dry_run, params.nthread = file_type, True, 1
    logs.clear()
    with logs.whole_log() as log:
        status = library.llama_model_quantize(path.encode(), b"", ctypes.byref(params))
    del kept  # what `params` points to had to live until here
    if status != 0:
        reason = next(iter(logs.last_errors()), f"status {status}").removeprefix("failed to quantize: ")
        raise QuantizationError(f"llama.cpp refuses: {reason}", hint=_HINTS.get(reason.partition(":")[0]))
    return _read(b"".join(log))


def _read(log: bytes) -> Decisions:
    lines = list(_TENSOR.finditer(log))
    fallbacks = _FALLBACKS.search(log)
    return Decisions(
        [line["name"].decode("utf-8", "replace") for line in lines],
        [(line["new"] or line["old"]).decode().upper() for line in lines],
        int(fallbacks[1]) if fallbacks else 0,
    )


def _fill(params: Any, library: Any, options: Mapping[str, Any]) -> list[Any]:
    """Set what `options` ask for; return the arrays that `params` then points to."""
    params.pure = options.get("pure", False)
    params.keep_split = options.get("keep_split", False)
    params.quantize_output_tensor = not options.get("leave_output", False)
    params.allow_requantize = True  # a dry run says what would be; whether it may be is decided elsewhere
    params.output_tensor_type = _type_id(options.get("output_type"))
    params.token_embedding_type = _type_id(options.get("token_embedding_type"))
    arrays = {
        "tt_overrides": _tensor_types(library, options.get("tensor_types")),
        "kv_overrides": _overrides(library, options.get("overrides")),
        "prune_layers": _layers(options.get("prune_layers")),
        "imatrix": _some_matrix(library) if options.get("has_matrix") else None,
    }
    for field, array in arrays.items():
        if array is not None:
            setattr(params, field, ctypes.cast(array, type(getattr(params, field))))
    return list(arrays.values())


def _type_id(name: str | None) -> int:
    return _UNSET if name is None else TENSOR_TYPES_BY_NAME[name].id


def _tensor_types(library: Any, pairs: Sequence[tuple[str, str]] | None) -> Any:
    if not pairs:
        return None
    array = (library.llama_model_tensor_override * (len(pairs) + 1))()
    for item, (pattern, kind) in zip(array, pairs, strict=False):
        item.pattern, item.type = pattern.encode(), _type_id(kind)
    return array


def _overrides(library: Any, overrides: Sequence[tuple[str, str, Any]] | None) -> Any:
    if not overrides:
        return None
    array = (library.llama_model_kv_override * (len(overrides) + 1))()
    for item, (key, kind, value) in zip(array, overrides, strict=False):
        item.key, item.tag = key.encode(), _OVERRIDE_TAGS[kind]
        if kind == "int":
            item.value.val_i64 = value
        elif kind == "float":
            item.value.val_f64 = value
        elif kind == "bool":
            item.value.val_bool = value
        else:
            item.value.val_str = value.encode()
    return array


def _layers(numbers: Sequence[int] | None) -> Any:
    return (ctypes.c_int32 * (len(numbers) + 1))(*numbers, -1) if numbers else None


def _some_matrix(library: Any) -> Any:
    """Return an importance matrix without a useful entry: that there is one changes the choice of types."""
    array = (library.llama_model_imatrix_data * 2)()
    array[0].name, array[0].size = b"any", 1
    array[0].data = ctypes.pointer(ctypes.c_float(1.0))
    return array
