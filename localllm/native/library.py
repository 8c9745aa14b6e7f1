"""Loads llama.cpp once, through the llama-cpp-python binding, and says what was loaded.

Importing the binding costs a third of a second and registers a logger that prints; both happen
here, on first use, and the logger is replaced by `logs`. Nothing else imports `llama_cpp`.
"""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localllm.native import logs


@dataclass(frozen=True)
class Device:
    """A compute device llama.cpp can use; memory in bytes."""

    name: str
    description: str
    free_bytes: int
    total_bytes: int


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
    import llama_cpp.llama_cpp as library

    library.llama_log_set(logs.CALLBACK, ctypes.c_void_p(0))
    library.llama_backend_init()
    return library


@functools.cache
def ggml() -> ctypes.CDLL:
    """Return ggml's base library, with the signatures of the functions used here."""
    _prepare_environment()
    import llama_cpp._ctypes_extensions as loader

    library: ctypes.CDLL = loader.load_shared_library("ggml-base", _library_directory())
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
    for name in ("ggml_blck_size", "ggml_type_size"):
        getattr(library, name).restype = ctypes.c_int64
        getattr(library, name).argtypes = [ctypes.c_int]
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


def describe() -> NativeInfo:
    """Return the versions, CPU features and devices of the installed llama.cpp."""
    library = llama()
    import llama_cpp

    return NativeInfo(
        binding_version=llama_cpp.__version__,
        build=library.llama_version().decode(),
        features=_features(library.llama_print_system_info().decode()),
        devices=_devices(),
        gpu_offload=bool(library.llama_supports_gpu_offload()),
    )


def _prepare_environment() -> None:
    """Set what ggml and GNU OpenMP read from the environment while they load; the user's own values stay."""
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # an abort must not start a debugger
    if "OMP_WAIT_POLICY" not in os.environ:
        # A thread that waits for others spins before it sleeps; when something else wants the cores,
        # long spinning makes decoding a hundred times slower (docs/decisions/0005).
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _library_directory() -> Path:
    override = os.environ.get("LLAMA_CPP_LIB_PATH")
    if override:
        return Path(override)
    import llama_cpp

    return Path(llama_cpp.__file__).resolve().parent / "lib"


def _features(system_info: str) -> tuple[str, ...]:
    """Pick the enabled features out of `CPU : SSE3 = 1 | AVX = 1 | ...`."""
    features = []
    for part in system_info.replace(":", "|").split("|"):
        name, _, value = part.partition("=")
        if value.strip() == "1":
            features.append(name.strip())
    return tuple(features)


def _devices() -> tuple[Device, ...]:
    import llama_cpp._ctypes_extensions as loader

    registry = loader.load_shared_library("ggml", _library_directory())
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
    )
