"""Loads llama.cpp once, through the llama-cpp-python binding, and says what was loaded.

Importing the binding loads the libraries and registers a logger that prints; both happen here, on first
use, and the logger is replaced by `logs`. Nothing else imports `llama_cpp`. Its Python interface is left
out, which takes longer to import than everything else together.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import sys
import threading
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from localllm.native import logs

_importing = threading.Lock()
_SPIN_COUNT = "GOMP_SPINCOUNT"
_spins_briefly = True
_set_here: set[str] = set()
_GPU_TYPES = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU, _IGPU


@dataclass(frozen=True)
class Device:
    """A compute device llama.cpp can use; memory in bytes. A GPU may share the host's."""

    name: str
    description: str
    free_bytes: int
    total_bytes: int
    is_gpu: bool


@dataclass(frozen=True)
class NativeInfo:
    """What the installed llama.cpp is and can do."""

    binding_version: str
    build: str
    features: tuple[str, ...]
    devices: tuple[Device, ...]
    gpu_offload: bool


@functools.cache
def llama() -> Any:
    """Return the binding's low-level module with the backend initialised and logs collected."""
    _prepare_environment()
    library = _binding("llama_cpp")
    library.llama_log_set(logs.CALLBACK, ctypes.c_void_p(0))
    library.llama_backend_init()
    return library


@functools.cache
def ggml() -> ctypes.CDLL:
    """Return ggml's base library, with the signatures of the functions used here."""
    _prepare_environment()
    library = _load("ggml-base")
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
    ]
    library.ggml_validate_row_data.restype = ctypes.c_bool
    library.ggml_validate_row_data.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    for name in ("ggml_blck_size", "ggml_type_size"):
        getattr(library, name).restype = ctypes.c_int64
        getattr(library, name).argtypes = [ctypes.c_int]
    library.ggml_backend_dev_type.restype = ctypes.c_int
    library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    for name in ("ggml_backend_dev_name", "ggml_backend_dev_description"):
        getattr(library, name).restype = ctypes.c_char_p
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.ggml_backend_dev_memory.restype = None
    library.ggml_backend_dev_memory.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_size_t),
        ctypes.POINTER(ctypes.c_size_t),
    ]
    return library


@functools.cache
def ggml_cpu() -> ctypes.CDLL | None:
    """Return ggml's library of processor routines; None where it is built in several variants."""
    ggml()  # depends on it
    try:
        library = _load("ggml-cpu")
        library.ggml_cpu_fp32_to_fp16.restype = None
        library.ggml_cpu_fp32_to_fp16.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    except (OSError, RuntimeError, AttributeError):
        return None
    return library


def describe() -> NativeInfo:
    """Return the versions, CPU features and devices of the installed llama.cpp."""
    from importlib.metadata import version

    library = llama()
    return NativeInfo(
        binding_version=version("llama-cpp-python"),
        build=library.llama_version().decode(),
        features=_features(library.llama_print_system_info().decode()),
        devices=devices(),
        gpu_offload=bool(library.llama_supports_gpu_offload()),
    )


def spin_as_openmp_does() -> None:
    """Leave it to OpenMP how long waiting threads spin; to be called before llama.cpp is loaded.

    Some per cent faster on a machine that does nothing else, ruinous on any other: for measuring alone.
    """
    global _spins_briefly
    _spins_briefly = False


def _prepare_environment() -> None:
    """Set what ggml and GNU OpenMP read from the environment while they load; the user's own values stay."""
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # an abort must not start a debugger
    if _spins_briefly and not {"OMP_WAIT_POLICY", _SPIN_COUNT} & os.environ.keys():
        # A thread that waits for others spins before it sleeps; when something else wants the cores,
        # long spinning makes decoding a hundred times slower (docs/decisions/0005).
        os.environ[_SPIN_COUNT] = "1000"
        _set_here.add(_SPIN_COUNT)


def users_environment() -> dict[str, str]:
    """Return the environment without what this module set in it: for children, who decide for themselves."""
    return {name: value for name, value in os.environ.items() if name not in _set_here}


def library_directory() -> Path:
    """Return where the installed binding keeps the libraries of llama.cpp. Raise ModuleNotFoundError."""
    override = os.environ.get("LLAMA_CPP_LIB_PATH")
    if override:
        return Path(override)
    return Path(str(_package().origin)).resolve().parent / "lib"


def binding_module(name: str) -> Any:
    """Import one of the binding's own Python modules, without the package around it."""
    return _binding(name)


def _package() -> ModuleSpec:
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None:
        raise ModuleNotFoundError("No module named 'llama_cpp'", name="llama_cpp")
    return spec


def _binding(name: str) -> Any:
    """Import one module of the binding, without its package's __init__ unless somebody ran that already."""
    with _importing:
        if "llama_cpp" in sys.modules:
            return importlib.import_module(f"llama_cpp.{name}")
        sys.modules["llama_cpp"] = importlib.util.module_from_spec(_package())
        try:
            return importlib.import_module(f"llama_cpp.{name}")
        finally:
            del sys.modules["llama_cpp"]  # who imports it later gets all of it


def _load(name: str) -> ctypes.CDLL:
    library: ctypes.CDLL = _binding("_ctypes_extensions").load_shared_library(name, library_directory())
    return library


def _features(system_info: str) -> tuple[str, ...]:
    """Pick the enabled features out of `CPU : SSE3 = 1 | AVX = 1 | ...`."""
    features = []
    for part in system_info.replace(":", "|").split("|"):
        name, _, value = part.partition("=")
        if value.strip() == "1":
            features.append(name.strip())
    return tuple(features)


def devices() -> tuple[Device, ...]:
    """Return the devices of the installed llama.cpp, the processor among them."""
    registry = _load("ggml")
    registry.ggml_backend_dev_count.restype = ctypes.c_size_t
    registry.ggml_backend_dev_get.restype = ctypes.c_void_p
    registry.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    return tuple(
        _device(registry.ggml_backend_dev_get(index)) for index in range(registry.ggml_backend_dev_count())
    )


def _device(handle: int) -> Device:
    base = ggml()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    base.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
    return Device(
        name=base.ggml_backend_dev_name(handle).decode("utf-8", "replace"),
        description=base.ggml_backend_dev_description(handle).decode("utf-8", "replace"),
        free_bytes=free.value,
        total_bytes=total.value,
        is_gpu=base.ggml_backend_dev_type(handle) in _GPU_TYPES,
    )
