"""How much of a long prompt is read between two tokens of the others.

A short prompt that arrives meanwhile waits for half a slice on the average before it is read, and now and
then for a whole one more. For that to take no more than twice the time it takes alone, a slice takes as long
as a short prompt does. Where all is fast nobody notices, and larger slices save time. A slice that gives way
to who comes may be larger, too, the longer nobody came: what was read of it is lost.
"""

from __future__ import annotations

_SHORT_PROMPT = 24  # tokens
_UNNOTICED_SECONDS = 0.005
_UNDISTURBED = 128  # tokens: more in a batch are hardly read faster
_STEP = 8  # tokens; what the routines for matrices like
_FEW_TOKENS = 16  # fewer in a batch take as long as one, nearly
_MEMORY = 0.8  # share of the past in the averages


class Pace:
    """Learns from what decoding takes; slices are at most `most` tokens. With `alone` nobody has to wait."""

    def __init__(self, most: int, *, alone: bool = False) -> None:
        self._most = most
        self._alone = alone
        self._slice = self._undisturbed = _SHORT_PROMPT
        self._step_seconds = 0.0
        self._token_seconds = 0.0

    @property
    def slice_tokens(self) -> int:
        """Return how many tokens of prompts the next batch may have."""
        return self._most if self._alone else min(self._slice, self._most)

    @property
    def yielding_tokens(self) -> int:
        """Return how many the next batch may have when it gives way to who comes."""
        return min(max(self.slice_tokens, self._undisturbed), self._most)

    def note(self, *, gave_way: bool) -> None:
        """Take into account whether a batch that gives way had to."""
        self._undisturbed = _SHORT_PROMPT if gave_way else min(2 * self._undisturbed, _UNDISTURBED)

    def learn(self, tokens: int, seconds: float) -> None:
        """Take into account that a batch of `tokens` took `seconds`."""
        if tokens <= _FEW_TOKENS:
            self._step_seconds = _average(self._step_seconds, seconds)
            return
        self._token_seconds = _average(self._token_seconds, max(0.0, seconds - self._step_seconds) / tokens)
        wanted = min(self._wanted(), 2 * self._slice, self._most)
        self._slice = max(_SHORT_PROMPT, wanted - wanted % _STEP)

    def _wanted(self) -> int:
        short = self._step_seconds + _SHORT_PROMPT * self._token_seconds
        seconds = max(short, _UNNOTICED_SECONDS) - self._step_seconds
        return int(seconds / self._token_seconds) if self._token_seconds > 0 else self._most


def _average(before: float, now: float) -> float:
    return now if before == 0.0 else _MEMORY * before + (1 - _MEMORY) * now
