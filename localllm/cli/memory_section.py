"""Whether a model can be run on this machine, in words: by context, and by level for a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from localllm.cli.facts import Fact, Row, Section
from localllm.units import format_bytes

if TYPE_CHECKING:
    from localllm.inspection.fit import ContextMemory, GPUFit, Memory
    from localllm.inspection.sizes import PlannedSize, Source

_HEADINGS = ("context", "cache F16", "cache Q8_0", "buffers", "total", "fits in")
_LEVEL_HEADINGS = ("level", "size", "bits per weight", "fallbacks", "memory", "fits in")
_GAP = "  "


def memory_section(memory: Memory | None) -> Section:
    """Return the table by context, then what this machine has."""
    return Section("Will it run here (estimated)", list(_memory(memory)) if memory else [])


def levels_section(source: Source | None) -> Section:
    """Return what can be made of a checkpoint, the level advised for this machine marked."""
    return Section("What it can become", list(_levels(source)) if source else [])


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> list[Row]:
    """Return lines with columns of equal width, numbers to the right, those of `left` to the left."""
    widths = [max(len(row[index]) for row in (headings, *rows)) for index in range(len(headings))]
    lines = []
    for row in (headings, *rows):
        cells = [
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_GAP.join(cells).rstrip())
    return [Row(lines[0], is_heading=True), *map(Row, lines[1:])]


def _memory(memory: Memory) -> Iterator[Fact | Row]:
    rows = [_context(each) for each in memory.contexts]
    yield from table(_HEADINGS, rows, left=[len(_HEADINGS) - 1])
    weights = format_bytes(memory.weight_bytes)
    yield Fact("memory", f"{format_bytes(memory.available_bytes)} free; the weights take {weights}")
    yield Fact("largest context", _largest(memory))
    yield Fact("GPU", _gpu(memory.gpu) if memory.gpu else "none that llama.cpp can use")


def _context(each: ContextMemory) -> tuple[str, ...]:
    sizes = (each.cache_bytes, each.cache_q8_0_bytes, each.buffer_bytes, each.total_bytes)
    return (f"{each.context:,}", *map(format_bytes, sizes), _places(each))


def _places(each: ContextMemory) -> str:
    places = [
        *(["GPU"] if each.fits_gpu else []),
        *(["memory"] if each.fits_memory else []),
    ]
    if not each.fits_memory and each.fits_memory_q8_0:
        places.append("memory with Q8_0")
    return ", ".join(places) or "-"


def _largest(memory: Memory) -> str:
    full, small = memory.largest_context, memory.largest_context_q8_0
    trained = memory.contexts[-1].context
    if full is None and small is None:
        return "none: the weights and the least context do not fit"
    if full is not None and full >= trained:
        return f"{full:,} tokens, all it was trained for" if memory.is_trained else f"{full:,} tokens"
    plain = f"{full:,} tokens" if full else "none"
    return f"{plain}; {small:,} with the cache in Q8_0" if small else plain


def _gpu(gpu: GPUFit) -> str:
    where = f"{gpu.name}, {format_bytes(gpu.free_bytes)} free"
    layers = f"{gpu.layers_that_fit} of {gpu.layers} layers fit"
    return f"{where}: {layers} at {gpu.context:,} tokens (`--gpu-layers {gpu.layers_that_fit}`)"


def _levels(source: Source) -> Iterator[Fact | Row]:
    if source.converted_size_bytes is not None:
        level = f" ({source.converted_level})" if source.converted_level else ""
        yield Fact("converted", f"{format_bytes(source.converted_size_bytes)}{level}")
    if source.levels:
        yield from table(_LEVEL_HEADINGS, [_level(each) for each in source.levels], left=[0, 5])
        yield Fact("memory", f"estimated for {source.context or 0:,} tokens of context")
        free = f"; {format_bytes(source.available_bytes)} are free" if source.available_bytes else ""
        yield Fact("advised", f"{source.advised}, the largest that fits" if source.advised else f"none{free}")
    for row in dict.fromkeys(each.row for each in source.misfits):
        names = [each.name.removesuffix(".weight") for each in source.misfits if each.row == row]
        yield Fact("fallbacks", f"rows of {row} do not fit blocks of 256: {', '.join(names)}")


def _level(each: PlannedSize) -> tuple[str, ...]:
    places = [*(["GPU"] if each.fits_gpu else []), *(["memory"] if each.fits_memory else [])]
    return (
        each.level,
        format_bytes(each.size_bytes),
        f"{each.bits_per_weight:.2f}",
        str(each.fallbacks),
        format_bytes(each.memory_bytes),
        ", ".join(places) or "-",
    )
