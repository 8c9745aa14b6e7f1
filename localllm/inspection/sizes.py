"""What a checkpoint would become: the converted file, and every level that can be made, to the byte."""

from __future__ import annotations

from dataclasses import dataclass

from localllm.checkpoint import Checkpoint
from localllm.checkpoint.directory import TOKENIZER_FILES
from localllm.events import Emit
from localllm.gguf_file import GGUFHeader
from localllm.inspection.misfits import Misfit, misfits
from localllm.inspection.storage import level_of
from localllm.quantization.levels import parse_levels
from localllm.quantization.quantize import QuantizationPlan, plan_quantization
from localllm.quantization.source import QuantizationSource

_GROUP = "all"
_BLOCK = 256  # of the K-quants
_LARGE_BLOCKS = "Q4_K_M"  # a level of the group whose types have them
_OTHER_FILES = ("generation_config.json",)


@dataclass(frozen=True)
class PlannedSize:
    """What `localllm quantize` would make at one level; `fallbacks` tensors do not fit its type's blocks."""

    level: str
    size_bytes: int
    bits_per_weight: float
    fallbacks: int
    memory_bytes: int
    fits_memory: bool
    fits_gpu: bool | None


@dataclass(frozen=True)
class Source:
    """What a checkpoint is made of, and what can be made of it.

    `quantization` is the method its weights are already quantized with. Memory is estimated for `context`
    tokens; `advised` is the largest level that fits this machine. `misfits` are the tensors that the levels
    with blocks of 256 store in another type.
    """

    class_name: str
    tokenizer_files: tuple[str, ...]
    quantization: str = ""
    converted_level: str = ""
    converted_size_bytes: int | None = None
    levels: tuple[PlannedSize, ...] = ()
    context: int | None = None
    available_bytes: int | None = None
    advised: str | None = None
    misfits: tuple[Misfit, ...] = ()


def plan_all_levels(source: QuantizationSource, emit: Emit) -> QuantizationPlan:
    """Plan what `localllm quantize -q all` would write. Raise what that would."""
    place = source.inputs[0].parent  # only names are made of it; nothing is written
    targets = [(level, place / f"{level.name}.gguf") for level in parse_levels([_GROUP])]
    return plan_quantization(source, targets, emit=emit)


def source_of(checkpoint: Checkpoint, header: GGUFHeader | None, plan: QuantizationPlan | None) -> Source:
    """Describe a checkpoint as a source; `header` is that of the converted file, where there can be one."""
    found = Source(
        class_name=checkpoint.architecture,
        tokenizer_files=tuple(
            name for name in (*TOKENIZER_FILES, *_OTHER_FILES) if checkpoint.file(name) is not None
        ),
        quantization=_quantization(checkpoint),
        converted_level=level_of(header) if header else "",
        converted_size_bytes=header.file_size_bytes if header else None,
    )
    return found if plan is None else _with_plan(found, plan)


def _with_plan(source: Source, plan: QuantizationPlan) -> Source:
    levels = tuple(
        PlannedSize(
            level=level.level.name,
            size_bytes=level.size_bytes,
            bits_per_weight=level.bits_per_weight,
            fallbacks=level.fallbacks,
            memory_bytes=fit.running_bytes,
            fits_memory=fit.memory,
            fits_gpu=fit.gpu,
        )
        for level, fit in zip(plan.levels, plan.fits, strict=True)
    )
    large = next((level for level in plan.levels if level.level.name == _LARGE_BLOCKS), None)
    changed = (tensor.output for tensor in large.tensors if tensor.is_changed) if large else ()
    return Source(
        class_name=source.class_name,
        tokenizer_files=source.tokenizer_files,
        quantization=source.quantization,
        converted_level=source.converted_level,
        converted_size_bytes=source.converted_size_bytes,
        levels=levels,
        context=plan.context,
        available_bytes=plan.resources.memory_bytes,
        advised=None if plan.advised is None else levels[plan.advised].level,
        misfits=misfits(changed, _BLOCK),
    )


def _quantization(checkpoint: Checkpoint) -> str:
    settings = checkpoint.config.get("quantization_config") or checkpoint.config.get("quantization")
    if not isinstance(settings, dict):
        return ""
    return str(settings.get("quant_method") or settings.get("mode") or "mlx")[:40]
