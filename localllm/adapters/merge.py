"""A checkpoint with adapters merged in: the same names, tensors computed while they are read.

Everything is done in float32 and rounded once, when it is written. A tied embedding that is adapted on
one side only becomes two tensors, as it was in training; PEFT's own merge would change both sides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from localllm.adapters.adapter import Adapter, LowRank
from localllm.checkpoint import EMBEDDINGS, HEADS, Checkpoint, DerivedTensor, Tensor
from localllm.checkpoint.numbers import as_float32
from localllm.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from localllm.checkpoint.tensor import Compute

_PREFIXES = re.compile(r"^((base_model|model|transformer|gpt_neox|language_model)\.)+")
# model types whose linear layers store (in, out), which PEFT calls fan_in_fan_out
_TRANSPOSED_MODELS = ("gpt2",)
_PIECE_WEIGHTS = 4 * 1024 * 1024
_OTHER_BASE = "the adapter belongs to another base model, or the base was changed since"


def merged(checkpoint: Checkpoint, adapter: Adapter, scale: float = 1.0) -> Checkpoint:
    """Return `checkpoint` with `adapter` merged in; `scale` multiplies the adapter's own.

    Files of the adapter's directory (tokenizer, template) come before the base's. Nothing is read yet.
    Raise CheckpointError when a tensor has no counterpart in the base or another shape; UsageError for
    a scale other than 1 on an adapter that does more than add B·A.
    """
    if scale != 1.0 and not adapter.is_only_low_rank:
        raise UsageError(
            f"{adapter.directory} replaces weights, so it cannot be merged at scale {scale:g}",
            hint="merge it without `--scale`",
        )
    merge = _Merge(checkpoint, adapter, scale)
    tensors = merge.tensors()
    config = dict(checkpoint.config)
    if merge.unties:
        config["tie_word_embeddings"] = False
    return replace(checkpoint, config=config, tensors=tensors).with_files_of(adapter.directory)


@dataclass
class _Merge:
    checkpoint: Checkpoint
    adapter: Adapter
    scale: float
    unties: bool = False

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors of the merged model, in the base's order; a head that was tied comes last."""
        changed: dict[str, Tensor] = {}
        for name, tensor in self.adapter.replaced.items():
            base = self._name(name, self.adapter.directory.name)
            changed[base] = self._replacement(base, tensor)
        for module, (rows, values) in self.adapter.rows.items():
            base = self._name(f"{module}.weight", module)
            changed[base] = _with_rows(base, self._current(base, changed), rows, values)
        for module, part in self.adapter.low_rank.items():
            base = self._name(f"{module}.weight", module)
            changed[base] = self._with_low_rank(base, self._current(base, changed), module, part)
            if part.output_bias is not None:
                bias = self._name(f"{module}.bias", module)
                change = part.scale * self.scale
                changed[bias] = _with_bias(bias, self._current(bias, changed), part.output_bias, change)
        self._untie(changed)
        return {name: changed.pop(name, tensor) for name, tensor in self._base.items()} | changed

    @cached_property
    def _base(self) -> Mapping[str, Tensor]:
        """Return the base's tensors without a head that repeats a tied embedding."""
        tensors = self.checkpoint.tensors
        if not self.checkpoint.config.get("tie_word_embeddings"):
            return tensors
        return {name: tensor for name, tensor in tensors.items() if not name.endswith(HEADS)}

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """Map names without the prefixes of model classes to names in the base."""
        return {_PREFIXES.sub("", name): name for name in self._base}

    @cached_property
    def _tied_embedding(self) -> str | None:
        """Return the embedding that is also the head, if the base has no head of its own."""
        if any(name.endswith(HEADS) for name in self._base):
            return None
        return next((name for name in self._base if name.endswith(EMBEDDINGS)), None)

    def _name(self, name: str, module: str) -> str:
        """Return the base's name of an adapted parameter; that of a tied head is new."""
        short = _PREFIXES.sub("", name)
        if short in self._names:
            return self._names[short]
        if short in HEADS and self._tied_embedding is not None:
            return short
        raise CheckpointError(
            f"the adapter changes `{module}`, which the base model does not have", hint=_OTHER_BASE
        )

    def _current(self, name: str, changed: Mapping[str, Tensor]) -> Tensor:
        """Return a tensor as it is so far: already changed, the base's, or the tied embedding."""
        if name in changed:
            return changed[name]
        return self._base[name if name in self._base else str(self._tied_embedding)]

    def _replacement(self, name: str, tensor: Tensor) -> Tensor:
        """Return the adapter's tensor in the base's place; only a vocabulary may have other rows."""
        base = self._current(name, {})
        resizable = name.endswith((*EMBEDDINGS, *HEADS)) and base.shape[1:] == tensor.shape[1:]
        if tensor.shape != base.shape and not (resizable and tensor.rows >= base.rows):
            raise CheckpointError(
                f"the adapter's `{name}` has shape {list(tensor.shape)}, the base's {list(base.shape)}",
                hint=_OTHER_BASE,
            )
        return _derived(
            name, tensor.shape, base.native_dtype, lambda first, count: _floats(tensor, first, count)
        )

    def _with_low_rank(self, name: str, base: Tensor, module: str, part: LowRank) -> Tensor:
        by_input = part.is_embedding or self.checkpoint.config.get("model_type") in _TRANSPOSED_MODELS
        expected = tuple(reversed(part.shape)) if by_input else part.shape
        if base.shape != expected:
            raise CheckpointError(
                f"the adapter's `{module}` is {list(expected)}, the base's is {list(base.shape)}",
                hint=_OTHER_BASE,
            )
        change = _LowRankChange(base, part, by_input, self.scale)
        return _derived(name, base.shape, base.native_dtype, change.rows)

    def _untie(self, changed: dict[str, Tensor]) -> None:
        """Give a tied model its second tensor when only one side was changed."""
        embedding = self._tied_embedding
        if embedding is None:
            return
        head = next((name for name in HEADS if name in changed), None)
        if head is not None:
            self.unties = True
            return
        if embedding not in changed or self.adapter.settings.ties_weights:
            return
        original = self._base[embedding]
        if changed[embedding].shape != original.shape:
            return  # tokens were added: the head was resized with the embedding, both are the new one
        name = "embed_out.weight" if embedding.endswith("embed_in.weight") else "lm_head.weight"
        changed[name] = replace(original, name=name)
        self.unties = True


@dataclass
class _LowRankChange:
    """Computes rows of W + scale·B·A; `by_input`: W has a row per input, so the transpose is added."""

    base: Tensor
    part: LowRank
    by_input: bool
    scale: float

    @cached_property
    def _factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (left, right) with left @ right the change in the base's orientation, scaled."""
        a, b = self.part.factors()
        scale = np.float32(self.part.scale * self.scale)
        return (a.T * scale, b.T) if self.by_input else (b * scale, a)

    def rows(self, first: int, count: int) -> NDArray[np.float32]:
        total = self._sum(first, count)
        if self.part.magnitude is None:
            return total
        factors = self._column_factors if self.by_input else self._row_factors(total, first)
        scaled: NDArray[np.float32] = total * factors
        return scaled

    def _sum(self, first: int, count: int) -> NDArray[np.float32]:
        left, right = self._factors
        total: NDArray[np.float32] = _floats(self.base, first, count) + left[first : first + count] @ right
        return total

    @cached_property
    def _magnitude(self) -> NDArray[np.float32]:
        assert self.part.magnitude is not None
        return as_float32(self.part.magnitude.read_array(), self.part.magnitude.dtype).reshape(-1)

    def _row_factors(self, total: NDArray[np.float32], first: int) -> NDArray[np.float32]:
        norms: NDArray[Any] = np.sqrt(np.square(total, dtype=np.float64).sum(axis=1)).astype(np.float32)
        factors: NDArray[np.float32] = self._magnitude[first : first + len(total)] / norms
        return factors[:, None]

    @cached_property
    def _column_factors(self) -> NDArray[np.float32]:
        squares = np.zeros(self.base.columns, np.float64)
        step = max(1, _PIECE_WEIGHTS // self.base.columns)
        for first in range(0, self.base.rows, step):
            total = self._sum(first, min(step, self.base.rows - first))
            squares += np.square(total, dtype=np.float64).sum(axis=0)
        norms: NDArray[Any] = np.sqrt(squares).astype(np.float32)
        factors: NDArray[np.float32] = self._magnitude / norms
        return factors


def _with_rows(name: str, base: Tensor, indices: Sequence[int], values: Tensor) -> Tensor:
    """Return `base` with single rows replaced."""
    if values.shape != (len(indices), base.columns) or not all(0 <= row < base.rows for row in indices):
        raise CheckpointError(
            f"the adapter's new rows for `{name}` have shape {list(values.shape)}, {len(indices)} are named",
            hint=_OTHER_BASE,
        )

    def compute(first: int, count: int) -> NDArray[np.float32]:
        rows = _floats(base, first, count).copy()
        new = _floats(values, 0, len(indices))
        for position, row in enumerate(indices):
            if first <= row < first + count:
                rows[row - first] = new[position]
        return rows

    return _derived(name, base.shape, base.native_dtype, compute)


def _with_bias(name: str, base: Tensor, change: Tensor, scale: float) -> Tensor:
    def compute(first: int, count: int) -> NDArray[np.float32]:
        return _floats(base, first, count) + _floats(change, first, count) * np.float32(scale)

    return _derived(name, base.shape, base.native_dtype, compute)


def _derived(name: str, shape: tuple[int, ...], native: str, compute: Compute) -> Tensor:
    return DerivedTensor(name, "F32", shape, native, compute)


def _floats(tensor: Tensor, first: int, count: int) -> NDArray[np.float32]:
    return as_float32(tensor.read_rows(first, count), tensor.dtype)
