"""Weights that GPTQ quantized to 2, 4 or 8 bits (Frantar et al. 2022, arXiv:2210.17323).

weight[i, j] = scales[g, i] · (q[j, i] − zero[g, i]) in float32, where g is the group of input j. `qweight`
packs q along the inputs, `qzeros` the zeros along the outputs; format `gptq` stores zero − 1, `gptq_v2` zero.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Checkpoint, Tensor
from localllm.dequantization.methods import unsupported
from localllm.dequantization.packing import PACKED_BITS, WORD_BITS, unpack
from localllm.dequantization.parts import FLOATS, Parts, floats, in_line, invalid, require
from localllm.dequantization.rounding import compute_dtype

_FORMATS = {"gptq": 1, "gptq_v2": 0}  # what is added to a stored zero
_WORDS = "qweight"
_PIECE_WORDS = 1024 * 1024
_KEPT_WORDS = 30 * 1024 * 1024  # 120 MiB: the largest matrix of a 70 B model in 4 bits
_keeping = threading.Lock()
_NOTHING = re.compile(r"(?!)")
_STRAY = re.compile(r"\.(qzeros|g_idx)$")


def weights(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the checkpoint's tensors with float32 weights for packed ones, shape (outputs, inputs).

    Nothing is read. Raise UnsupportedModelError for 3 bits and for layouts made for one kernel.
    """
    layout = settings.get("checkpoint_format") or "gptq"
    if settings.get("is_marlin_format"):
        layout = "marlin"
    if layout not in _FORMATS:
        raise unsupported(checkpoint, "gptq", f"layout {layout}")
    parts = Parts(checkpoint.tensors)
    for name, words in checkpoint.tensors.items():
        if name.rpartition(".")[2] == _WORDS:
            module = name.removesuffix(_WORDS)
            weight = _open(parts, module, words, checkpoint, _FORMATS[str(layout)])
            shape = (words.shape[1], weight.inputs)
            native = compute_dtype(checkpoint, weight.scales)
            parts.put(name, f"{module}weight", shape, native, weight.rows)
    return parts.result(_NOTHING, _STRAY)


@dataclass(frozen=True)
class _PackedWeight:
    """Computes rows of the weight, which are columns of all that is stored."""

    words: Tensor
    zeros: Tensor
    scales: Tensor
    groups: Tensor | None
    bits: int
    added: int

    @property
    def inputs(self) -> int:
        return self.words.rows * WORD_BITS // self.bits

    def rows(self, first: int, count: int) -> NDArray[np.float32]:
        chosen = slice(first, first + count)
        values = unpack(_columns(self.words, chosen), self.bits, axis=0)
        groups = self._group_of_input()
        offsets = values.astype(np.int16) - self._zeros(chosen)[groups]
        scales = floats(self.scales, 0, self.scales.rows)[:, chosen]
        products: NDArray[np.float32] = scales[groups] * offsets
        return np.ascontiguousarray(products.T)

    def _zeros(self, chosen: slice) -> NDArray[np.int16]:
        """Return the zeros of some outputs, shape (groups, outputs)."""
        per_word = WORD_BITS // self.bits
        first_word, end_word = chosen.start // per_word, -(-chosen.stop // per_word)
        zeros = unpack(self.zeros.read_array()[:, first_word:end_word], self.bits, axis=1)
        skipped = first_word * per_word
        return zeros[:, chosen.start - skipped : chosen.stop - skipped].astype(np.int16) + np.int16(
            self.added
        )

    def _group_of_input(self) -> NDArray[np.int64]:
        if self.groups is None:
            return np.arange(self.inputs) // (self.inputs // self.scales.rows)
        groups = self.groups.read_rows(0, self.inputs).reshape(-1).astype(np.int64)
        if groups.min() < 0 or groups.max() >= self.scales.rows:
            raise invalid(self.groups.name, f"names groups beyond the {self.scales.rows} that have scales")
        return groups


def _open(parts: Parts, module: str, words: Tensor, checkpoint: Checkpoint, added: int) -> _PackedWeight:
    """Hold the parts of a weight against each other; the number of bits shows in their shapes."""
    parts.take(words.name, words.name)
    scales = require(parts.take(f"{module}scales", words.name), FLOATS)
    zeros = require(parts.take(f"{module}qzeros", words.name), ("I32",))
    require(words, ("I32",))
    if any(len(tensor.shape) != 2 for tensor in (words, scales, zeros)):
        raise invalid(words.name, "or its scales or zeros do not have two dimensions")
    outputs, groups = words.shape[1], scales.shape[0]
    require(scales, FLOATS, (groups, outputs))
    bits, odd = divmod(zeros.shape[1] * WORD_BITS, outputs)
    if odd or bits not in (3, *PACKED_BITS):
        raise invalid(zeros.name, f"of shape {list(zeros.shape)} does not hold zeros for {outputs} outputs")
    if bits == 3:
        raise unsupported(checkpoint, "gptq", "3 bits")
    require(zeros, ("I32",), (groups, outputs * bits // WORD_BITS))
    order = parts.find(f"{module}g_idx")
    weight = _PackedWeight(words, zeros, scales, None if order is None else in_line(order), bits, added)
    if order is not None:
        require(order, ("I32", "I64"), (weight.inputs,))
    elif weight.inputs % groups:
        raise invalid(scales.name, f"has {groups} groups for {weight.inputs} inputs")
    return weight


def _columns(tensor: Tensor, chosen: slice) -> NDArray[Any]:
    """Return some columns of a tensor.

    All of it has to be read for that, so the last one is kept; one too large to keep is read by pieces.
    """
    if tensor.rows * tensor.columns <= _KEPT_WORDS:
        with _keeping:  # or every thread would read it for itself
            return _whole(tensor)[:, chosen]
    return np.concatenate([rows[:, chosen] for rows in tensor.read_pieces(_PIECE_WORDS)])


@functools.lru_cache(maxsize=1)
def _whole(tensor: Tensor) -> NDArray[Any]:
    return tensor.read_array()
