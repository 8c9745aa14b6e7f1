"""Small integers packed into 32-bit words, the lowest bits first, as GPTQ and compressed-tensors do it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD_BITS = 32
# with these a word has no unused bits; every packer agrees on them
PACKED_BITS = (2, 4, 8)


def unpack(words: NDArray[Any], bits: int, axis: int) -> NDArray[np.uint8]:
    """Return the unsigned integers in `words`, shape (rows, columns) of int32, which are packed along `axis`.

    That axis becomes 32 / bits times as long; `bits` is one of PACKED_BITS.
    """
    rows, columns = words.shape
    unsigned = words.astype(np.uint32, copy=False)
    per_word = WORD_BITS // bits
    shape = (rows, per_word, columns) if axis == 0 else (rows, columns, per_word)
    values = np.empty(shape, np.uint8)
    for place in range(per_word):  # all at once would take many times the memory
        part = (unsigned >> (place * bits)) & (2**bits - 1)
        values[(slice(None), place) if axis == 0 else (..., place)] = part
    return values.reshape((rows * per_word, columns) if axis == 0 else (rows, columns * per_word))


def words_for(count: int, bits: int) -> int:
    """Return how many words `count` integers take."""
    return -(-count * bits // WORD_BITS)
