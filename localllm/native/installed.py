"""What the installed llama.cpp can do, found out without loading it into this process.

Loading takes longer than reading a header, and what is looked at may be hostile. Names of architectures are
looked for in the library's bytes, where they lie as C strings; for GPUs a child process is asked, and only
where there is both a backend for one and a device.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from localllm.errors import LocalLLMError
from localllm.events import Emit
from localllm.native.library import Device, devices, library_directory, llama

_LIBRARIES = ("libllama.so", "libllama.dylib", "llama.dll", "libllama.dll")
_GPU_BACKENDS = ("cuda", "hip", "vulkan", "metal", "sycl", "musa", "opencl", "cann")
_DEVICES = (  # of Linux; elsewhere the driver has to be asked
    *("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg", "/dev/mthreads.0", "/dev/davinci0"),
    "/dev/dri/renderD128",
)


def knows_architecture(name: str) -> bool | None:
    """Tell whether the installed llama.cpp knows an architecture; None when it cannot be found out."""
    wanted = name.encode() + b"\0"
    if not name.isascii() or not name.isprintable():
        return False
    for path in map(_directory_or_nowhere().joinpath, _LIBRARIES):
        try:
            return wanted in path.read_bytes()  # 4 MB
        except OSError:  # not there
            continue
    return None


def gpus() -> Sequence[Device]:
    """Return the GPUs llama.cpp can use, none where it has no backend or the machine no device for one."""
    if not may_have_gpu():
        return ()
    from localllm.native.worker import run_job  # what starts processes takes long to import

    try:
        found = run_job("localllm.native.installed:devices_job", {})
    except LocalLLMError:  # a driver that crashes is none
        return ()
    return [device for device in (Device(**each) for each in found) if device.is_gpu]


def may_have_gpu() -> bool:
    """Tell whether llama.cpp was built for a GPU and there may be one."""
    files = [path.name for path in _directory_or_nowhere().glob("*ggml-*")]
    if not any(f"ggml-{backend}" in name for backend in _GPU_BACKENDS for name in files):
        return False
    return not sys.platform.startswith("linux") or any(Path(device).exists() for device in _DEVICES)


def devices_job(arguments: dict[str, Any], emit: Emit) -> list[dict[str, Any]]:
    """Serve `gpus` in the child."""
    llama()
    return [asdict(device) for device in devices()]


def _directory_or_nowhere() -> Path:
    try:
        return library_directory()
    except ModuleNotFoundError:  # the binding is not installed
        return Path("/nowhere")
