"""What an importance matrix is: the mean squared activation of every input column of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ImportanceMatrix:
    """Mean squares by weight name, float32 of shape (matrices, columns), and what they were measured on.

    `matrices` is the number of experts, else 1; a file in the old format does not tell, there the experts
    of a weight follow one another in one row. `chunks` and `chunk_size` (in tokens) are 0 when unknown.
    """

    entries: Mapping[str, NDArray[np.float32]]
    datasets: tuple[str, ...]
    chunks: int
    chunk_size: int


def mean_squares(sums: NDArray[np.float32], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Divide `sums`, shape (matrices, columns), by `counts`, shape (matrices,) or (1,); 1 where that is 0.

    This is llama-quantize's arithmetic, in float32, to the last bit.
    Source: load_imatrix in tools/quantize/quantize.cpp of llama.cpp.
    """
    import numpy as np

    divisors = counts.astype(np.float32)[:, None]
    means = np.divide(sums, divisors, where=divisors > 0, out=np.ones_like(sums))
    return means.astype(np.float32, copy=False)
