"""The tensors that together make one weight: looked up by name, and taken out of the checkpoint for it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import DerivedTensor, Tensor
from localllm.checkpoint.numbers import as_float32
from localllm.errors import CheckpointError

if TYPE_CHECKING:
    from localllm.checkpoint.tensor import Compute

FLOATS = ("F32", "F16", "BF16")
_DAMAGED = "the files were changed or not saved completely; download or save the checkpoint again"


@dataclass
class Parts:
    """Takes a checkpoint's tensors apart and puts weights in their place."""

    tensors: Mapping[str, Tensor]
    _taken: set[str] = field(default_factory=set)
    _weights: dict[str, Tensor] = field(default_factory=dict)

    def take(self, name: str, of: str) -> Tensor:
        """Return a part of the weight `of`. Raise CheckpointError if it is missing or empty."""
        tensor = self.find(name)
        if tensor is None:
            raise CheckpointError(f"tensor `{of}` is quantized, but `{name}` is missing", hint=_DAMAGED)
        if not math.prod(tensor.shape):
            raise invalid(name, "is empty")
        return tensor

    def find(self, name: str) -> Tensor | None:
        """Return a part that need not be there."""
        if name in self.tensors:
            self._taken.add(name)
        return self.tensors.get(name)

    def put(self, place: str, name: str, shape: tuple[int, ...], native: str, compute: Compute) -> None:
        """Put the weight `name` in the place of the tensor `place`."""
        if name in self.tensors and name != place:
            raise invalid(name, f"is there besides its quantized form `{place}`")
        self._weights[place] = DerivedTensor(name, "F32", shape, native, compute)

    def result(self, unused: re.Pattern[str], stray: re.Pattern[str]) -> dict[str, Tensor]:
        """Return the weights and the tensors that were not taken, in the checkpoint's order.

        Names that `unused` finds are left out: they scale activations, which GGUF does not quantize. Raise
        CheckpointError for one that `stray` finds: it belongs to a weight that is not quantized or not there.
        """
        tensors: dict[str, Tensor] = {}
        for place, tensor in self.tensors.items():
            if place in self._weights:
                tensors[self._weights[place].name] = self._weights[place]
            elif place in self._taken or unused.search(place):
                continue
            elif stray.search(place):
                raise invalid(place, "belongs to no quantized weight")
            else:
                tensors[place] = tensor
        return tensors


def invalid(name: str, reason: str) -> CheckpointError:
    """Return the error for a tensor that is not what its method stores."""
    return CheckpointError(f"tensor `{name}` {reason}", hint=_DAMAGED)


def require(tensor: Tensor, dtypes: tuple[str, ...], shape: tuple[int, ...] | None = None) -> Tensor:
    """Return `tensor`. Raise CheckpointError if it has another dtype, or another shape than `shape`."""
    if tensor.dtype not in dtypes:
        raise invalid(tensor.name, f"has type {tensor.dtype}, not {' or '.join(dtypes)}")
    if shape is not None and tensor.shape != shape:
        raise invalid(tensor.name, f"has shape {list(tensor.shape)}, not {list(shape)}")
    return tensor


def in_line(tensor: Tensor) -> Tensor:
    """Return the tensor with one value in a row, so that a range of values can be read."""
    return replace(tensor, shape=(math.prod(tensor.shape), 1))


def floats(tensor: Tensor, first: int, count: int) -> NDArray[np.float32]:
    """Return rows of a tensor of numbers as float32, shape (count, columns)."""
    return as_float32(tensor.read_rows(first, count), tensor.dtype)
