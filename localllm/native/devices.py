"""Which GPUs llama.cpp can use, and whether there is one that it cannot."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from localllm.native.library import Device, devices, llama

_INSTALL = 'CMAKE_ARGS="-D{flag}=on" pip install --force-reinstall --no-cache-dir llama-cpp-python'
# a file that is there where such a GPU is, its maker, and the flag that builds llama.cpp for it
_SIGNS = (
    (Path("/dev/nvidia0"), "NVIDIA", "GGML_CUDA"),
    (Path("/proc/driver/nvidia/version"), "NVIDIA", "GGML_CUDA"),
    (Path("/dev/kfd"), "AMD", "GGML_HIP"),
)


@dataclass(frozen=True)
class UnusedGPU:
    """A GPU in the machine that the installed llama.cpp was not built for."""

    maker: str
    install: str  # the command that installs one that was


def gpus() -> tuple[Device, ...]:
    """Return the GPUs that layers can be put on."""
    if not llama().llama_supports_gpu_offload():
        return ()
    return tuple(device for device in devices() if device.is_gpu)


def unused_gpu() -> UnusedGPU | None:
    """Return a GPU that this machine seems to have when llama.cpp can use none, else None."""
    if llama().llama_supports_gpu_offload():
        return None
    for path, maker, flag in _SIGNS:
        if path.exists():
            return UnusedGPU(maker, _INSTALL.format(flag=flag))
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return UnusedGPU("Apple", _INSTALL.format(flag="GGML_METAL"))
    return None
