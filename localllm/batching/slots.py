"""The sequences of one context, and what each of them holds: prompts begin where another had the same.

What an answer leaves behind stays in its slot until the slot is needed. A new prompt takes the beginning it
has in common with what any slot holds, busy or free; the cells are shared, not copied. Models with a state,
and layers that see a window only, can do so only where what the next token looks back at is still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from localllm.engine.workspace import common_length
from localllm.native.context import Context
from localllm.native.model import Model

if TYPE_CHECKING:
    from localllm.batching.answer import Answer


class Slot:
    """Sequence number `sequence`, with the tokens the cache holds of it and the answer given in it."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.tokens: list[int] = []
        self.answer: Answer | None = None
        self.last_used = 0

    @property
    def is_free(self) -> bool:
        """Whether another answer may have it."""
        return self.answer is None


class Slots:
    """`count` slots of `context`."""

    def __init__(self, context: Context, model: Model, count: int) -> None:
        self._context = context
        self._model = model
        self._slots = [Slot(sequence) for sequence in range(count)]
        self._clock = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def answers(self) -> list[Answer]:
        """Return the answers that are being given."""
        return [slot.answer for slot in self._slots if slot.answer is not None]

    @property
    def free(self) -> list[Slot]:
        """Return the free slots, the longest unused first."""
        return sorted((slot for slot in self._slots if slot.is_free), key=lambda slot: slot.last_used)

    def take(self, prompt: Sequence[int]) -> Slot:
        """Return a free slot that holds as much of the beginning of `prompt` as can be had, not all."""
        known, source = max(
            ((self._usable(slot, prompt[:-1]), slot) for slot in self._slots),
            key=lambda found: (found[0], found[1].is_free, -found[1].last_used),
        )
        # what continues a slot's conversation goes on in it; others leave it in peace
        goes_on = source.is_free and (not known or 2 * known >= len(source.tokens))
        target = source if goes_on else next((slot for slot in self.free if slot is not source), source)
        if target is not source:
            self.copy(source, target, known)
        elif known < len(target.tokens):
            self._cut(target, known)
        return target

    def take_empty(self) -> Slot:
        """Return a free slot that holds nothing."""
        slot = self.free[0]
        self.clear(slot)
        return slot

    def copy(self, source: Slot, target: Slot, length: int) -> None:
        """Make `target` hold the first `length` tokens of `source`: all of them where there is a state."""
        self.clear(target)
        if length:
            is_part = length < len(source.tokens)
            self._context.copy_sequence(source.sequence, target.sequence, length if is_part else -1)
            target.tokens = source.tokens[:length]

    def clear(self, slot: Slot) -> None:
        """Forget what a slot holds."""
        self._context.forget_from(0, slot.sequence)
        slot.tokens = []

    def clear_free(self) -> bool:
        """Forget what all free slots hold; return whether that was anything."""
        held = [slot for slot in self._slots if slot.is_free and slot.tokens]
        for slot in held:
            self.clear(slot)
        return bool(held)

    def give_back(self, slot: Slot) -> None:
        """Make a slot free; it keeps what it holds."""
        self._clock += 1
        slot.last_used = self._clock
        slot.answer = None

    def repair(self, slot: Slot) -> bool:
        """Bring the cache back to what the slot's tokens say; False when that failed, and it is empty now."""
        if not self._model.is_recurrent and self._context.forget_from(len(slot.tokens), slot.sequence):
            _, last = self._context.held_positions(slot.sequence)
            if last + 1 == len(slot.tokens):
                return True
        had = bool(slot.tokens)
        self.clear(slot)
        return not had

    def _cut(self, slot: Slot, length: int) -> None:
        if length and self._context.forget_from(length, slot.sequence):
            del slot.tokens[length:]
        else:
            self.clear(slot)

    def _usable(self, slot: Slot, prompt: Sequence[int]) -> int:
        """Return how much of the beginning of `prompt` can be taken from a slot."""
        length = common_length(slot.tokens, prompt)
        if length == len(slot.tokens) or not length:
            return length
        if self._model.is_recurrent:
            return 0
        if self._model.window:
            first, _ = self._context.held_positions(slot.sequence)
            return length if first <= max(0, length - self._model.window) else 0
        return length
