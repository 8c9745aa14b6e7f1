"""`localllm --version`."""

from __future__ import annotations

import platform
import sys

from localllm import __version__


def print_version() -> None:
    """Print the versions of localllm, llama.cpp and Python, the CPU features, the kernels and the devices."""
    from localllm.native.kernels import kernels
    from localllm.native.library import describe
    from localllm.units import format_bytes

    info, own = describe(), kernels()
    print(f"localllm {__version__}")
    print(f"llama.cpp {info.build} (llama-cpp-python {info.binding_version})")
    print(f"Python {platform.python_version()} on {sys.platform} {platform.machine()}")
    print(f"features: {' '.join(info.features)}")
    print(f"kernels: {own.name}{f' ({own.reason})' if own.reason else ''}")
    for device in info.devices:
        free, total = format_bytes(device.free_bytes), format_bytes(device.total_bytes)
        print(f"device: {device.name} ({device.description}), {free} free of {total}")
