"""The tokens of one decode call, in memory that llama.cpp reads and that is filled without a loop."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from localllm.native.library import llama


class Batch:
    """Room for `size` tokens, each at a position of one sequence; `count` of them are filled.

    `structure` is the `llama_batch` that describes them, valid as long as this object lives.
    """

    def __init__(self, size: int) -> None:
        integers: Any = ctypes.c_int32 * size
        self._tokens, self._positions, self._sequences = integers(), integers(), integers()
        self._ones = integers(*[1] * size)  # every token is in one sequence
        self._wanted: Any = (ctypes.c_int8 * size)()
        pointer = ctypes.POINTER(ctypes.c_int32)
        first = ctypes.addressof(self._sequences)
        width = ctypes.sizeof(ctypes.c_int32)
        # for each token the address of its list of sequences, which is one long
        self._lists = (ctypes.c_void_p * size)(*range(first, first + size * width, width))
        self.size = size
        self.structure: Any = llama().llama_batch()
        self.structure.token = ctypes.cast(self._tokens, pointer)
        self.structure.pos = ctypes.cast(self._positions, pointer)
        self.structure.n_seq_id = ctypes.cast(self._ones, pointer)
        self.structure.seq_id = ctypes.cast(self._lists, ctypes.POINTER(pointer))
        self.structure.logits = ctypes.cast(self._wanted, ctypes.POINTER(ctypes.c_int8))

    @property
    def count(self) -> int:
        """Return how many tokens are filled."""
        return int(self.structure.n_tokens)

    def clear(self) -> None:
        """Forget the tokens."""
        self.structure.n_tokens = 0

    def add(self, tokens: Sequence[int], *, start: int, sequence: int, logits_from: int) -> None:
        """Append `tokens` at positions start, start + 1, ...; keep logits from index `logits_from` on."""
        begin, length = self.count, len(tokens)
        end = begin + length
        self._tokens[begin:end] = tokens
        self._positions[begin:end] = range(start, start + length)
        self._sequences[begin:end] = [sequence] * length
        self._wanted[begin:end] = [0] * logits_from + [1] * (length - logits_from)
        self.structure.n_tokens = end
