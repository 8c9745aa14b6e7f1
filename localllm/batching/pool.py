"""How much room each request has and how much all have together."""

from __future__ import annotations

from dataclasses import dataclass

from localllm.engine.sizing import Sizing

_WANTED = (8192, 4096, 2048)  # tokens for each request, when nobody says


@dataclass(frozen=True)
class Pool:
    """A request may take `request_tokens`, all together `cells`: less than `parallel` times as much where
    the memory is not enough, and then not all of them run at the same time.
    """

    request_tokens: int
    cells: int


def pool_for(context: int | None, parallel: int, training_context: int, sizing: Sizing) -> Pool:
    """Return the largest pool that fits; with `context` the tokens of a request are given.

    What does not fit at all is tried nevertheless: llama.cpp says so then.
    """
    wanted = [context] if context else sorted({min(size, training_context) for size in _WANTED}, reverse=True)
    for size in wanted:
        if sizing.fits(size * parallel):
            return Pool(size, size * parallel)
    least = wanted[-1]
    together = next((count for count in range(parallel, 1, -1) if sizing.fits(least * count)), 1)
    return Pool(least, least * together)
