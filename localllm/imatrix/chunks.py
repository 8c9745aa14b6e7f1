"""Cuts tokenized texts into chunks, and chunks into what is decoded together (pure functions)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

BATCH_TOKENS = 512  # what llama.cpp computes at once

Tokens = Sequence[int]


def cut(texts: Sequence[Tokens], size: int, *, bos: int | None = None) -> list[list[int]]:
    """Return all whole chunks of `size` tokens: of each text the first, then the second, and so on.

    What is left over of the texts follows one another and is cut in the same way; the end of that is dropped.
    With `bos` the first token of each chunk is replaced by it. For one text, and llama-imatrix takes no
    more, these are its chunks.
    """
    turns = zip_longest(*(_whole_chunks(text, size) for text in texts))
    rest = [token for text in texts for token in text[len(text) // size * size :]]
    chunks = [chunk for turn in turns for chunk in turn if chunk is not None] + _whole_chunks(rest, size)
    if bos is not None:
        for chunk in chunks:
            chunk[0] = bos
    return chunks


def _whole_chunks(text: Tokens, size: int) -> list[list[int]]:
    return [list(text[start : start + size]) for start in range(0, len(text) - size + 1, size)]


@dataclass(frozen=True)
class Plan:
    """How chunks go through a model: `together` at once, each in steps of at most `step` tokens."""

    together: int
    step: int

    @property
    def batch_tokens(self) -> int:
        return self.together * self.step


def plan(context_size: int, chunks: int) -> Plan:
    """Fill llama.cpp's batch of 512 tokens as far as possible.

    No step is short: products with few rows would not count. A larger batch, as llama-imatrix has it,
    would gain nothing but be split again, and its logits take gigabytes.
    """
    steps = -(-context_size // BATCH_TOKENS)
    together = min(chunks, max(1, BATCH_TOKENS // context_size))
    return Plan(together, -(-context_size // steps))


def passes(chunks: Sequence[Tokens], together: int) -> Iterator[Sequence[Tokens]]:
    """Yield the chunks in groups of `together`; the last may be smaller."""
    for start in range(0, len(chunks), together):
        yield chunks[start : start + together]
