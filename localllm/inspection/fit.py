"""Will it run here: what a model takes at several contexts, held against this machine's memory and GPU."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localllm.gguf_file import GGUFHeader
from localllm.machine import available_memory_bytes
from localllm.memory import GPU_MARGIN_BYTES, MEMORY_SHARE, Footprint

if TYPE_CHECKING:
    from localllm.native.library import Device

CONTEXTS = (2048, 4096, 8192, 32_768, 131_072)
_STEP = 256  # a context is a multiple of so many tokens in llama.cpp
_LARGEST = 2**31 - 1
_LAYER = re.compile(r"blk\.(\d{1,3})\.")
_INPUTS = ("token_embd.", "per_layer_token_embd.", "position_embd.", "token_embd_norm.", "token_types.")
_TOKEN_EMBEDDING = "token_embd.weight"
_OUTPUT = "output.weight"


@dataclass(frozen=True)
class ContextMemory:
    """What a context of so many tokens takes, in bytes; totals are with the weights, the cache F16 or Q8_0.

    `fits_gpu` is None without a GPU.
    """

    context: int
    cache_bytes: int
    cache_q8_0_bytes: int
    buffer_bytes: int
    total_bytes: int
    total_q8_0_bytes: int
    fits_memory: bool
    fits_memory_q8_0: bool
    fits_gpu: bool | None


@dataclass(frozen=True)
class GPUFit:
    """The GPU with the most free memory, and how many of `layers` fit on it at `context` tokens.

    They are counted as llama.cpp does, the output as the last one: what to give as its `--gpu-layers`.
    """

    name: str
    free_bytes: int
    context: int
    layers_that_fit: int
    layers: int


@dataclass(frozen=True)
class Memory:
    """Whether a model can be run here. The largest contexts are in tokens, None when none fits.

    They are looked for up to what the model was trained for, which is the last of `contexts`, or up to 8192
    when it does not say that (`is_trained` is false then).
    """

    weight_bytes: int
    available_bytes: int
    contexts: tuple[ContextMemory, ...]
    largest_context: int | None
    largest_context_q8_0: int | None
    is_trained: bool
    gpu: GPUFit | None = None


def memory_of(
    header: GGUFHeader, footprint: Footprint, devices: Sequence[Device], available_bytes: int | None = None
) -> Memory:
    """Estimate what running the model takes; `devices` are llama.cpp's, the memory is this machine's."""
    available = available_memory_bytes() if available_bytes is None else available_bytes
    weights = header.tensor_bytes
    trained = header.architecture_integer("context_length")
    limit = trained if trained and 0 < trained <= _LARGEST else CONTEXTS[2]
    room = int(available * MEMORY_SHARE)
    gpu = max((device for device in devices if device.is_gpu), key=lambda each: each.free_bytes, default=None)
    contexts = tuple(
        _context(footprint, weights, context, room, gpu)
        for context in _contexts(limit, is_known=bool(trained))
    )
    return Memory(
        weight_bytes=weights,
        available_bytes=available,
        contexts=contexts,
        largest_context=_largest(limit, lambda size: footprint.running_bytes(weights, size) <= room),
        largest_context_q8_0=_largest(
            limit, lambda size: footprint.running_bytes(weights, size, "Q8_0") <= room
        ),
        is_trained=bool(trained),
        gpu=_gpu_fit(header, footprint, gpu, min(limit, CONTEXTS[2])) if gpu else None,
    )


def _contexts(limit: int, *, is_known: bool) -> list[int]:
    """Return the contexts to show: the usual ones up to what the model was trained for, and that."""
    usual = [context for context in CONTEXTS if context < limit]
    return [*usual, limit] if is_known or not usual else usual


def _context(
    footprint: Footprint, weights: int, context: int, room: int, gpu: Device | None
) -> ContextMemory:
    total, total_q8_0 = (footprint.running_bytes(weights, context, kind) for kind in ("F16", "Q8_0"))
    return ContextMemory(
        context=context,
        cache_bytes=footprint.cache_bytes(context),
        cache_q8_0_bytes=footprint.cache_bytes(context, "Q8_0"),
        buffer_bytes=footprint.buffer_bytes(context),
        total_bytes=total,
        total_q8_0_bytes=total_q8_0,
        fits_memory=total <= room,
        fits_memory_q8_0=total_q8_0 <= room,
        fits_gpu=None if gpu is None else total + GPU_MARGIN_BYTES <= gpu.free_bytes,
    )


def _largest(limit: int, fits: Callable[[int], bool]) -> int | None:
    """Return the largest context up to `limit` that fits; what fits at a size fits at every smaller one."""
    if fits(limit):
        return limit
    low, high = 0, limit // _STEP + 1  # in steps; `low` fits or is 0, `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * _STEP) else (low, middle)
    return low * _STEP or None


def _gpu_fit(header: GGUFHeader, footprint: Footprint, gpu: Device, context: int) -> GPUFit:
    """Count the layers from the output backwards that fit beside the buffers."""
    sizes = [size + cache for size, cache in zip(*_layer_bytes(header, footprint, context), strict=True)]
    sizes.append(_output_bytes(header))
    room = gpu.free_bytes - GPU_MARGIN_BYTES - footprint.buffer_bytes(context)
    fitting = 0
    for size in reversed(sizes):
        room -= size
        if room < 0:
            break
        fitting += 1
    return GPUFit(gpu.description or gpu.name, gpu.free_bytes, context, fitting, len(sizes))


def _layer_bytes(header: GGUFHeader, footprint: Footprint, context: int) -> tuple[list[int], list[int]]:
    """Return the bytes of the weights and of the cache of each layer."""
    weights = [0] * len(footprint.layers)
    for tensor in header.tensors:
        match = _LAYER.match(tensor.name)
        if match and int(match[1]) < len(weights):
            weights[int(match[1])] += tensor.size_bytes
    return weights, [footprint.layer_cache_bytes(layer, context) for layer in footprint.layers]


def _output_bytes(header: GGUFHeader) -> int:
    """Return the bytes of what comes behind the layers, the token embedding where nothing else is."""
    outside = {t.name: t.size_bytes for t in header.tensors if not _LAYER.match(t.name)}
    own = sum(size for name, size in outside.items() if not name.startswith(_INPUTS))
    return own if _OUTPUT in outside else own + outside.get(_TOKEN_EMBEDDING, 0)
