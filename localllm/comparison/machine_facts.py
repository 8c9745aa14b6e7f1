"""What machine a comparison was made on."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from localllm.comparison.measurement import Machine
from localllm.errors import LocalLLMError
from localllm.events import Emit
from localllm.machine import usable_cores
from localllm.native.worker import run_job

_PROCESSORS = Path("/proc/cpuinfo")


def machine_facts() -> Machine:
    """Return the facts of this machine; what cannot be found out is empty or 0."""
    import psutil

    try:
        devices = tuple(run_job("localllm.comparison.machine_facts:devices_job", {}))
    except LocalLLMError:
        devices = ()
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_bytes=int(psutil.virtual_memory().total),
        system=f"{platform.system()} {platform.release()}",
        devices=devices,
        localllm=_version("localllm"),
        llama_cpp_python=_version("llama-cpp-python"),
    )


def devices_job(arguments: dict[str, Any], emit: Emit) -> list[str]:
    """Return the names of the GPUs that llama.cpp uses. Runs in a child: asking takes memory of theirs."""
    from localllm.native.devices import gpus

    return [device.description or device.name for device in gpus()]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # it runs from its source
        return ""


def _processor() -> str:
    """Return the processor's name as its maker writes it, where the system tells."""
    if _PROCESSORS.exists():
        for line in _PROCESSORS.read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return value.strip()
    if sys.platform == "darwin":
        import subprocess

        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
    return platform.processor() or platform.machine()
