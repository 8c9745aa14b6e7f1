"""How chunks go through a model: how many at once, and in which steps (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FEWEST_TOKENS = 8  # of a chunk: three of them are scored
_BATCH_TOKENS = 2048  # llama-perplexity's
_LOGITS_BYTES = 256 * 1024 * 1024
_STEP_MULTIPLE = 64  # products with odd numbers of rows take longer


def first_scored(context_size: int) -> int:
    """Return the first position of a chunk whose prediction is scored; the last position predicts nothing."""
    return context_size // 2


def scored_per_chunk(context_size: int) -> int:
    """Return how many predictions of a chunk are scored."""
    return context_size - 1 - first_scored(context_size)


@dataclass(frozen=True)
class Plan:
    """`together` chunks of `context_size` tokens are decoded at once, `step` tokens of each at a time."""

    context_size: int
    together: int
    step: int

    @property
    def batch_tokens(self) -> int:
        return self.together * self.step

    def steps(self) -> Iterator[range]:
        """Yield the positions that are decoded together."""
        for start in range(0, self.context_size, self.step):
            yield range(start, min(start + self.step, self.context_size))


def plan(context_size: int, chunks: int, vocabulary_size: int) -> Plan:
    """Fill llama-perplexity's batch of 2048 tokens as far as possible.

    llama.cpp keeps the logits of a whole decode call: no more than 256 MiB of them are asked for.
    """
    rows = max(_STEP_MULTIPLE, _LOGITS_BYTES // (4 * vocabulary_size))
    wanted = context_size - first_scored(context_size)
    together = max(1, min(chunks, _BATCH_TOKENS // context_size, rows // wanted))
    step = min(context_size, _BATCH_TOKENS)
    if step > rows and wanted > rows:
        step = max(_STEP_MULTIPLE, rows // _STEP_MULTIPLE * _STEP_MULTIPLE)
    return Plan(context_size, together, step)
