"""How large a context may be, and how much of a model goes onto GPUs: from the header and the free memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from localllm.engine.engine_options import EngineOptions
from localllm.events import Emit, Notice
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.split_names import model_files
from localllm.machine import available_memory_bytes
from localllm.memory import MEMORY_SHARE, footprint_of
from localllm.memory.offload import layers_that_fit
from localllm.native.devices import gpus, unused_gpu
from localllm.native.library import Device

FIRST_CONTEXT = 4096
SMALLEST_CONTEXT = 512
_CELLS = 256  # llama.cpp makes contexts of whole blocks
_STATUS = Path("/proc/self/status")
_ANONYMOUS = re.compile(r"^RssAnon:\s*(\d+) kB", re.MULTILINE)
_FEWER = (1.0, 0.75, 0.5, 0.25, 0.0)  # shares of the layers to try when it does not work out


class Sizing:
    """Sizes for one model file under given options."""

    def __init__(self, path: Path, header: GGUFHeader, options: EngineOptions) -> None:
        self._header = header
        self._footprint = footprint_of(header)
        self._kinds = (options.cache_type_k.upper(), options.cache_type_v.upper())
        self._gpus: Sequence[Device] = () if options.gpu_layers == 0 else gpus()
        files = [file.stat().st_size for file in model_files(path)]
        self._weight_bytes = max(header.tensor_bytes, sum(files) if len(files) > 1 else 0)

    def first_context(self, training_context: int) -> int:
        """Return the context to begin with when none is given: 4096 tokens, or fewer that fit.

        A model too large for the memory runs from the disk, whatever its context.
        """
        usual = min(FIRST_CONTEXT, training_context)
        size = usual
        while size > SMALLEST_CONTEXT and not self.fits(size):
            size //= 2
        return size if self.fits(size) else usual

    def larger_context(self, needed: int, current: int, limit: int) -> int | None:
        """Return a context for `needed` tokens, of twice the current one's size or more where that fits.

        `limit` is the most tokens the model was trained for. None: nothing does.
        """
        generous = max(needed, 2 * current)
        for wanted in (1 << (generous - 1).bit_length(), needed + -needed % _CELLS):
            size = min(wanted, max(limit, current))
            if size >= needed and self.fits(size, current):
                return size
        return None

    def fits(self, size: int, current: int = 0) -> bool:
        """Tell whether a context of `size` tokens fits into memory, in place of the `current` one."""
        if self._footprint is None:
            return True  # nobody knows; llama.cpp says so when it does not
        room = available_memory_bytes() + sum(device.free_bytes for device in self._gpus)
        held, weights = 0, self._weight_bytes
        if current:
            held = self._context_bytes(current)
            # weights read from the file still count as available, those that were rearranged do not
            weights -= min(weights, max(0, _own_memory_bytes() - held))
        return weights + self._context_bytes(size) <= int(MEMORY_SHARE * room) + held

    def layer_counts(self, wanted: int | str, context: int) -> list[int | None]:
        """Return the numbers of layers to try putting onto the GPUs, the best first; None means all."""
        if not self._gpus:
            return [0]
        if isinstance(wanted, int):
            return [wanted]
        if wanted == "all" or self._footprint is None:
            return [None]
        free = [device.free_bytes for device in self._gpus]
        kind = max(self._kinds, key=lambda kind: self._footprint_bytes(context, kind))
        fitting = layers_that_fit(
            self._header, self._footprint, free, context, kind=kind, weight_bytes=self._weight_bytes
        )
        counts: list[int | None] = [int(fitting * share) for share in _FEWER]
        return list(dict.fromkeys(counts))

    def _context_bytes(self, size: int) -> int:
        assert self._footprint is not None
        cache = sum(self._footprint_bytes(size, kind) for kind in self._kinds) // 2
        return cache + self._footprint.buffer_bytes(size)

    def _footprint_bytes(self, size: int, kind: str) -> int:
        assert self._footprint is not None
        return self._footprint.cache_bytes(size, kind)


def _own_memory_bytes() -> int:
    """Return the memory this process has that no file backs, 0 where the system does not say."""
    try:
        status = _STATUS.read_text("ascii", "replace")
    except OSError:
        return 0
    found = _ANONYMOUS.search(status)
    return int(found[1]) * 1024 if found else 0


def tell_about_gpus(options: EngineOptions, emit: Emit) -> None:
    """Say so when there is a GPU that llama.cpp cannot use, or one was asked for and there is none."""
    if options.gpu_layers == 0:
        return
    unused = unused_gpu()
    if unused is not None:
        emit(
            Notice(
                f"this machine seems to have a GPU ({unused.maker}), "
                "but the installed llama-cpp-python cannot use it",
                hint=f"install one that can: `{unused.install}`",
                topic="unused-gpu",
            )
        )
    elif options.gpu_layers != "auto" and not gpus():
        emit(Notice("there is no GPU to put layers on: everything runs on the processor", topic="no-gpu"))
