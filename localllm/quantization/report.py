"""A plan as plain numbers, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localllm.publication import free_bytes
from localllm.quantization.quantize import QuantizationPlan


@dataclass(frozen=True)
class PlannedLevel:
    """One level of a plan. Sizes are in bytes; `nominal_bits_per_weight` is that of the level's own type.

    `fits_gpu` is None without a GPU. The memory is an estimate: weights, attention cache, buffers.
    """

    level: str
    path: Path
    files: int
    size_bytes: int
    bits_per_weight: float
    nominal_bits_per_weight: float
    fallbacks: int
    memory_bytes: int
    fits_disk: bool
    fits_memory: bool
    fits_gpu: bool | None


@dataclass(frozen=True)
class PlanReport:
    """All levels of a plan, what this machine has, and the level advised for it, if any."""

    levels: tuple[PlannedLevel, ...]
    total_bytes: int
    disk_free_bytes: int
    memory_available_bytes: int
    gpu: str | None
    gpu_free_bytes: int | None
    context: int
    advised: str | None


def report(plan: QuantizationPlan) -> PlanReport:
    """Return the figures of `plan`."""
    free = free_bytes(plan.paths[0][0])
    levels = tuple(
        PlannedLevel(
            level=level.level.name,
            path=paths[0],
            files=len(paths),
            size_bytes=level.size_bytes,
            bits_per_weight=level.bits_per_weight,
            nominal_bits_per_weight=level.level.bits_per_weight,
            fallbacks=level.fallbacks,
            memory_bytes=fit.running_bytes,
            fits_disk=level.size_bytes <= free,
            fits_memory=fit.memory,
            fits_gpu=fit.gpu,
        )
        for level, paths, fit in zip(plan.levels, plan.paths, plan.fits, strict=True)
    )
    return PlanReport(
        levels=levels,
        total_bytes=sum(level.size_bytes for level in levels),
        disk_free_bytes=free,
        memory_available_bytes=plan.resources.memory_bytes,
        gpu=plan.resources.gpu,
        gpu_free_bytes=plan.resources.gpu_bytes,
        context=plan.context,
        advised=None if plan.advised is None else levels[plan.advised].level,
    )
