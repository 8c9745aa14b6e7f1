"""The schemes in the settings of compressed-tensors: how many bits, and what shares a scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localllm.checkpoint import Checkpoint, Tensor
from localllm.dequantization.methods import unsupported
from localllm.dequantization.packing import PACKED_BITS
from localllm.dequantization.scales import Grid, grid_shape, single
from localllm.errors import CheckpointError

_PACKS = "pack-quantized"
_ONE_BYTE = ("float-quantized", "int-quantized", "naive-quantized")
_MIXED = "mixed-precision"
_METHOD = "compressed-tensors"
_CONFIG_HINT = "is config.json the one that belongs to these weights?"


@dataclass(frozen=True)
class Scheme:
    """How some of the weights were quantized; `group` and `block` are None unless the strategy is theirs."""

    packs: bool
    bits: int
    strategy: str
    symmetric: bool
    group: int | None = None
    block: tuple[int, int] | None = None

    def grid(self, scale: Tensor, shape: tuple[int, ...]) -> Grid | None:
        """Return the scales over a weight of `shape`, or None when they have another shape."""
        if self.strategy == "tensor":
            return single(scale, shape) if math.prod(scale.shape) == 1 else None
        block = self.block or (1, self.group or shape[-1])
        return Grid(scale, shape, block) if scale.shape == grid_shape(shape, block) else None


def read_schemes(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> tuple[Scheme, ...]:
    """Return the schemes of all groups. Raise UnsupportedModelError for a format that is not read."""
    _refuse_sparsity(checkpoint, settings)
    general = settings.get("format")
    groups = settings.get("config_groups")
    if not isinstance(groups, Mapping):
        raise CheckpointError("config.json has no config_groups for compressed-tensors", hint=_CONFIG_HINT)
    return tuple(_schemes(checkpoint, general, groups))


def _schemes(checkpoint: Checkpoint, general: Any, groups: Mapping[str, Any]) -> Iterator[Scheme]:
    for group in groups.values():
        values = group.get("weights") if isinstance(group, Mapping) else None
        if values is None:
            continue  # only activations
        layout = group.get("format") or general
        if layout == _MIXED or layout not in (_PACKS, *_ONE_BYTE):
            raise unsupported(checkpoint, _METHOD, str(layout))
        if not isinstance(values, Mapping):
            raise _bad(values)
        yield _scheme(checkpoint, layout == _PACKS, values)


def _scheme(checkpoint: Checkpoint, packs: bool, values: Mapping[str, Any]) -> Scheme:
    bits, strategy = values.get("num_bits"), values.get("strategy")
    group, block = values.get("group_size"), values.get("block_structure")
    if strategy is None:  # the package infers it
        strategy = "group" if _is_size(group) else "tensor"
    if type(bits) is not int or strategy not in ("tensor", "channel", "group", "block"):
        if strategy in ("tensor_group", "token", "attn_head"):
            raise unsupported(checkpoint, _METHOD, f"strategy {strategy}")
        raise _bad(values)
    if bits not in (PACKED_BITS if packs else (8,)):
        raise unsupported(checkpoint, _METHOD, f"{bits} bits")
    is_block = isinstance(block, list) and len(block) == 2 and all(map(_is_size, block))
    if (strategy == "group" and not _is_size(group)) or (strategy == "block" and not is_block):
        raise _bad(values)
    return Scheme(
        packs=packs,
        bits=bits,
        strategy=strategy,
        symmetric=values.get("symmetric", True) is not False,
        group=group if strategy == "group" else None,
        block=(block[0], block[1]) if strategy == "block" and isinstance(block, list) else None,
    )


def _refuse_sparsity(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> None:
    sparsity = settings.get("sparsity_config")
    layout = sparsity.get("format") if isinstance(sparsity, Mapping) else None
    if layout not in (None, "dense"):
        raise unsupported(checkpoint, _METHOD, str(layout))


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0


def _bad(values: Any) -> CheckpointError:
    text = "".join(char for char in str(values) if char.isprintable())[:60]
    return CheckpointError(
        f"config.json has a scheme that compressed-tensors does not know: {text}", hint=_CONFIG_HINT
    )
