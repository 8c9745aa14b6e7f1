"""What the next batch is made of.

A batch has the next token of each answer that speaks, and a slice of the prompts that are being read: of
that with the least left, so that short ones do not wait for long ones, and in turn of the first to come.
Where only long prompts are read the slice is larger, and gives way to a short prompt that comes meanwhile:
the batch is broken off and begun again behind it, but not twice in a row.
"""

from __future__ import annotations

from collections.abc import Sequence

from localllm.batching.answer import Answer
from localllm.batching.pace import Pace
from localllm.native.context import Piece

_TURN = 4  # every so many batches belong to the first to come, however many others have less to read
_AT_ONCE = 64  # tokens: a prompt so short is not worth cutting up

Part = tuple[Answer, Piece]


class Planner:
    """Plans batches of at most `most` tokens; only where it `can_break_off` one does that give way.

    With `alone` there is never another answer that would have to wait.
    """

    def __init__(self, most: int, *, alone: bool, can_break_off: bool) -> None:
        self._most = most
        self._pace = Pace(most, alone=alone)
        self._can_break_off = can_break_off
        self._batches = 0
        self._gives_way = False  # the batch that is decoded
        self._gave_way = False  # the slice before the next one

    def plan(self, answers: Sequence[Answer]) -> list[Part]:
        """Return what the next batch is made of: those who speak, then those who read."""
        parts = [
            (answer, Piece(answer.slot.sequence, len(answer.slot.tokens), [answer.token]))
            for answer in answers
            if answer.is_speaking
        ]
        room = self._most - len(parts)
        readers = self._readers(answers)
        budget = self._budget(readers, is_alone=not parts)
        for answer in readers:
            count = min(answer.unread, budget, room)
            if count > 0:
                parts.append((answer, _slice(answer, count)))
            budget -= count
            room -= count
        return parts

    def makes_way_for(self, prompt_tokens: int) -> bool:
        """Tell whether the batch that is decoded is to be broken off for a prompt; from any thread."""
        return self._gives_way and prompt_tokens <= _AT_ONCE

    def note_decoded(self, tokens: int, seconds: float) -> None:
        """Learn from a batch of `tokens` that took `seconds`."""
        self._pace.learn(tokens, seconds)
        if self._gives_way:
            self._pace.note(gave_way=False)

    def note_broken_off(self) -> None:
        """Learn that the batch was broken off."""
        self._gave_way = self._gives_way
        self._pace.note(gave_way=True)

    def _budget(self, readers: Sequence[Answer], *, is_alone: bool) -> int:
        """Return how many tokens of prompts the next batch may have; decide whether it gives way."""
        self._gives_way = False
        budget = self._pace.slice_tokens
        if not readers:
            return budget
        if readers[0].unread <= _AT_ONCE:
            return max(budget, readers[0].unread)
        if self._gave_way:  # those who read a long prompt must get on, too
            self._gave_way = False
            return budget
        if is_alone and self._can_break_off and all(it.unread > _AT_ONCE for it in readers):
            self._gives_way = True
            return self._pace.yielding_tokens
        return budget

    def _readers(self, answers: Sequence[Answer]) -> list[Answer]:
        """Return those who read in the order in which they are read."""
        self._batches += 1
        readers = sorted((answer for answer in answers if answer.is_reading), key=lambda it: it.job.number)
        return readers if self._batches % _TURN == 0 else sorted(readers, key=lambda it: it.unread)


def _slice(answer: Answer, count: int) -> Piece:
    """Return the next `count` tokens of the prompt; only the last token of all is drawn from."""
    held = len(answer.slot.tokens)
    tokens = answer.prompt[held : held + count]
    return Piece(answer.slot.sequence, held, tokens, None if count == answer.unread else count)
