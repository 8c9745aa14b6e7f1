"""Scales and zero points that lie in a grid over a weight: one for a block of rows and columns.

A block may be the whole tensor, a row, part of a row or a rectangle; the last ones may be cut off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Tensor
from localllm.dequantization.parts import floats


@dataclass(frozen=True)
class Grid:
    """`numbers` over a weight of `shape` (…, rows, columns), one for each `block` of (rows, columns)."""

    numbers: Tensor
    shape: tuple[int, ...]
    block: tuple[int, int]

    def over(self, first: int, count: int) -> NDArray[np.float32]:
        """Return the numbers for rows [first, first + count): shape (count, columns), or (count, 1)."""
        blocks = self._blocks(first, count)
        if blocks.shape[1] == 1:
            return blocks
        return blocks.repeat(self.block[1], axis=1)[:, : self.shape[-1]]

    def by_group(self, first: int, count: int, groups: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the numbers for the same rows where column i belongs to block `groups[i]` of its row."""
        return self._blocks(first, count)[:, groups]

    def _blocks(self, first: int, count: int) -> NDArray[np.float32]:
        """Return the numbers for some rows, shape (count, blocks in a row)."""
        rows = self.shape[-2]
        *_, down, across = grid_shape(self.shape, self.block)
        places = np.arange(first, first + count)
        places = places // rows * down + places % rows // self.block[0]
        if not count:
            return np.empty((0, across), np.float32)
        table = replace(self.numbers, shape=(math.prod(self.numbers.shape) // across, across))
        low, high = int(places[0]), int(places[-1])
        return floats(table, low, high - low + 1)[places - low]


def grid_shape(shape: tuple[int, ...], block: tuple[int, int]) -> tuple[int, ...]:
    """Return the shape of a grid over a weight of `shape`."""
    *outer, rows, columns = shape
    return (*outer, -(-rows // block[0]), -(-columns // block[1]))


def single(numbers: Tensor, shape: tuple[int, ...]) -> Grid:
    """Return the grid that has one number for a whole weight."""
    rows = math.prod(shape[:-1])
    return Grid(numbers, (rows, shape[-1]), (rows, shape[-1]))
