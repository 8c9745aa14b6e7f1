"""Views of a matrix that holds several, head by head: each of them whole, or some one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Tensor
from localllm.conversion.config import ModelConfig
from localllm.conversion.views import View, ViewTensor, by_head, rows_of_each


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Put all rows of tensors of one type and width one after another, as one matrix."""
    first, ends = tensors[0], list(accumulate(tensor.rows for tensor in tensors))

    def read(start: int, wanted: int) -> NDArray[Any]:
        found = []
        for tensor, end in zip(tensors, ends, strict=True):
            row = start - (end - tensor.rows)
            taken = min(wanted, end - start)
            if row >= 0 and taken > 0:
                found.append(tensor.read_rows(row, taken))
                start, wanted = start + taken, wanted - taken
        return found[0] if len(found) == 1 else np.concatenate(found)

    return ViewTensor(first.name, first.dtype, (ends[-1], first.columns), read)


def fused_heads(rows: Callable[[ModelConfig], Sequence[int]], matrices: Mapping[str, Sequence[int]]) -> View:
    """View a matrix that has, for each head, so many `rows` of each of several.

    `matrices` says by the new ends of the name which of them are put one after another, counted from 0.
    """

    def view(tensor: Tensor, _: Mapping[str, Tensor], config: ModelConfig) -> Iterator[tuple[str, Tensor]]:
        sizes = rows(config)
        heads = by_head(tensor, sum(sizes))
        starts = accumulate(sizes, initial=0)
        parts = [rows_of_each(heads, start, size) for start, size in zip(starts, sizes, strict=False)]
        for name, numbers in matrices.items():
            yield name, joined([parts[number] for number in numbers])

    return view
