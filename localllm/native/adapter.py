"""LoRA adapters in GGUF files, put onto a loaded model's contexts."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localllm.errors import ModelLoadError
from localllm.native import logs
from localllm.native.context import Context
from localllm.native.library import llama
from localllm.native.model import Model


class Adapters:
    """Adapters with their scales, loaded for one model, which must outlive them."""

    def __init__(self, model: Model, files: Sequence[tuple[Path, float]]) -> None:
        self._library = llama()
        self._handles: list[Any] = []
        self._scales = [scale for _, scale in files]
        for path, _ in files:
            logs.clear()
            handle = self._library.llama_adapter_lora_init(model.handle, os.fsencode(path))
            if not handle:
                reason = next(iter(logs.last_errors()), "the file was refused without a reason")
                raise ModelLoadError(
                    f"llama.cpp cannot use the adapter {path}: {reason}",
                    hint="the adapter may belong to another base model",
                )
            self._handles.append(handle)

    def apply_to(self, context: Context) -> None:
        """Make `context` compute with the adapters."""
        count = len(self._handles)
        if not count:
            return
        handles = (self._library.llama_adapter_lora_p_ctypes * count)(*self._handles)
        scales = (ctypes.c_float * count)(*self._scales)
        status = self._library.llama_set_adapters_lora(context.handle, handles, count, scales)
        if status != 0:
            raise ModelLoadError("llama.cpp cannot put the adapters onto the model")
