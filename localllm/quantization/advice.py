"""Which of several levels this machine can hold, on disk, in memory and on its GPU, and which to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localllm.gguf_file import GGUFHeader
from localllm.machine import available_memory_bytes
from localllm.memory import GPU_MARGIN_BYTES, MEMORY_SHARE, running_bytes
from localllm.native.library import Device
from localllm.quantization.plan import LevelPlan


@dataclass(frozen=True)
class Resources:
    """What there is, in bytes: memory a new process could have, and that of the GPU with the most free."""

    memory_bytes: int
    gpu_bytes: int | None
    gpu: str | None


@dataclass(frozen=True)
class Fit:
    """What a level takes while it runs, in bytes, and whether there is room; `gpu` is None without one."""

    running_bytes: int
    memory: bool
    gpu: bool | None


def resources(devices: Sequence[Device]) -> Resources:
    """Return what this machine offers now; `devices` are llama.cpp's."""
    gpus = [device for device in devices if device.is_gpu]
    best = max(gpus, key=lambda device: device.free_bytes, default=None)
    return Resources(
        available_memory_bytes(),
        best.free_bytes if best else None,
        best.description or best.name if best else None,
    )


def fit(plan: LevelPlan, header: GGUFHeader, found: Resources, context: int) -> Fit:
    """Estimate whether a level can be run with a context of so many tokens; `header` is the source's."""
    needed = running_bytes(header, plan.tensor_bytes, context)
    on_gpu = None if found.gpu_bytes is None else needed + GPU_MARGIN_BYTES <= found.gpu_bytes
    return Fit(needed, needed <= found.memory_bytes * MEMORY_SHARE, on_gpu)


def advise(plans: Sequence[LevelPlan], fits: Sequence[Fit]) -> int | None:
    """Return the index of the largest level that fits on the GPU, else in memory; None when none does."""
    sizes = [plan.size_bytes for plan in plans]
    for fitting in (
        [index for index, each in enumerate(fits) if each.gpu],
        [index for index, each in enumerate(fits) if each.memory],
    ):
        if fitting:
            return max(fitting, key=sizes.__getitem__)
    return None
