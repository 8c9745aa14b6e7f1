"""The text of one answer as its tokens come: whole characters, nothing of a stop text, and why it ended."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Sequence

from localllm.engine.chunks import FinishReason
from localllm.engine.stopping import StopFilter
from localllm.native.model import Model


class AnswerText:
    """An answer that ends with the model's own word, with one of the `stops` or after `limit` tokens.

    Control tokens do not show, except those in `named`, by their names.
    `count` is the number of tokens so far, `received` and `shown` how many characters they made and how many
    of them were returned.
    """

    def __init__(
        self, model: Model, stops: Sequence[str], limit: int, named: Collection[int] = frozenset()
    ) -> None:
        self.reason: FinishReason | None = None
        self.count = 0
        self.received = 0
        self.shown = 0
        self._model = model
        self._named = named
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = StopFilter(stops)
        self._limit = limit

    def take(self, token: int) -> str:
        """Take the next token and return the text that can be shown; may set `reason`."""
        self.count += 1
        piece = self._model.ordinary_piece(token)
        if piece is None:
            self.reason = FinishReason.STOP
            return ""
        if token in self._named:
            piece = self._model.piece(token, special=True)
        text = self._feed(self._decoder.decode(piece))
        if self._stops.stopped:
            self.reason = FinishReason.STOP
        elif self.count >= self._limit:
            self.reason = FinishReason.LENGTH
        return text

    def rest(self) -> str:
        """Return what was held back, now that nothing follows."""
        if self._stops.stopped:
            return ""
        text = self._feed(self._decoder.decode(b"", final=True))
        held = self._stops.flush()
        self.shown += len(held)
        return text + held

    @property
    def is_cut(self) -> bool:
        """Whether a stop text ended it."""
        return self._stops.stopped

    def _feed(self, text: str) -> str:
        shown = self._stops.feed(text)
        self.received += len(text)
        self.shown += len(shown)
        return shown
