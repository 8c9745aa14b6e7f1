"""Which layers stay when some are left out, and how tensors are called afterwards."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localllm.errors import UsageError
from localllm.gguf_file import GGUFHeader, TensorInfo
from localllm.quantization.header import refuse_uneven_layers

_LAYER = re.compile(r"blk\.(\d+)\.")


def require_prunable(source: GGUFHeader, layers: Sequence[int]) -> None:
    """Raise UsageError when `source` lacks one of `layers`, would be left without any, or cannot lose one."""
    if not layers:
        return
    count = source.architecture_integer("block_count") or 0
    absent = next((layer for layer in layers if layer >= count), None)
    if absent is not None:
        raise UsageError(f"there is no layer {absent}", hint=f"the model has layers 0 to {count - 1}")
    if len(layers) == count:
        raise UsageError("no layer would be left", hint="name fewer in `--prune-layers`")
    refuse_uneven_layers(source)


def names_after_pruning(tensors: Sequence[TensorInfo], layers: Sequence[int]) -> dict[str, str]:
    """Return for every tensor that stays its new name, as a mapping from the new name to the old one."""
    numbers = {int(match[1]) for tensor in tensors if (match := _LAYER.search(tensor.name))}
    kept = {old: new for new, old in enumerate(sorted(numbers - set(layers)))}
    names: dict[str, str] = {}
    for tensor in tensors:
        match = _LAYER.search(tensor.name)
        if match is None:
            names[tensor.name] = tensor.name
        elif int(match[1]) in kept:
            new = kept[int(match[1])]
            names[f"{tensor.name[: match.start(1)]}{new}{tensor.name[match.end(1) :]}"] = tensor.name
    return names
