"""Keeps a conversation within its context: tells before it overflows, then does what the policy says.

Everything is counted on the prompt as the engine would read it, with room for the answer. What is left out
is left out in large steps: a prompt that begins differently has to be read again from there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from localllm.compaction.room import answer_room, largest_prompt, needed_context, prompt_room
from localllm.compaction.summary import Strip, SummaryFailedError, count_tokens, summarise
from localllm.conversation import Compaction, Message, Overflow, beginnings, now, view
from localllm.engine import Engine, SamplingOptions
from localllm.errors import GenerationError
from localllm.events import Emit, Notice, ignore

_SUMMARY_SHARE = 4  # of what the prompt may take
_SUMMARY_TOKENS = (32, 1024)
_RELIEF = 0.6  # how full the prompt may be after turns were left out, so that it is a while to the next time
_LARGER = "a larger `--context` lets it see more"


class Window:
    """Decides what of a conversation a model is shown. `compactions` are the summaries made so far.

    `strip` takes what is no part of an answer, such as reasoning, out of a summary.
    """

    def __init__(
        self,
        policy: Overflow = Overflow.COMPACT,
        compactions: Sequence[Compaction] = (),
        strip: Strip = str.strip,
        emit: Emit = ignore,
    ) -> None:
        self.policy = policy
        self.compactions = list(compactions)
        self._strip = strip
        self._emit = emit
        self._active: Compaction | None = None
        self._first = 0  # turns before this one are left out
        self._budget = 0  # what was chosen for; with a larger one more may fit

    def cut(self, length: int) -> None:
        """Take note that the conversation has only `length` turns left; summaries of others are forgotten."""
        self.compactions = [each for each in self.compactions if each.last < length]
        self._active, self._first, self._budget = None, 0, 0

    def shown(
        self, engine: Engine, options: SamplingOptions, system: str | None, turns: Sequence[Message]
    ) -> list[Message]:
        """Return what the model is shown of these turns as things stand, without making room."""
        self._settle(engine, options, system, turns)
        return self._view(system, turns)

    def require_possible(
        self, engine: Engine, options: SamplingOptions, system: str | None, turns: Sequence[Message]
    ) -> None:
        """Raise GenerationError when not even the last message fits into the context."""
        least = view(system, turns, first=beginnings(turns)[-1])
        tokens = count_tokens(engine, least)
        largest = largest_prompt(engine.context_size)
        if tokens > largest and not engine.grow(tokens + answer_room(engine.context_size, options)):
            raise GenerationError(
                f"the message takes {tokens} tokens with what belongs to it, but the context holds "
                f"{engine.context_size}, {engine.context_size - largest} of them for the answer",
                hint="shorten the message or choose a larger `--context`",
            )

    def make_room(
        self, engine: Engine, options: SamplingOptions, system: str | None, turns: Sequence[Message]
    ) -> list[Message]:
        """Return what the model is shown to answer the last of `turns`; it fits with room for the answer.

        Raise GenerationError when it cannot or, by the policy STOP, must not be made to fit, and
        SummaryInterruptedError when somebody stopped the summary.
        """
        self._settle(engine, options, system, turns)
        shown = self._view(system, turns)
        tokens = count_tokens(engine, shown)
        _grow(engine, tokens, options)
        budget = prompt_room(engine.context_size, options)
        if budget > self._budget:
            self._settle(engine, options, system, turns)
            shown = self._view(system, turns)
            tokens = count_tokens(engine, shown)
        if tokens <= budget or self._is_least(turns, engine, tokens):
            return shown
        if self.policy is Overflow.STOP:
            raise GenerationError(
                f"the conversation no longer fits into the context of {engine.context_size} tokens: with "
                f"this message it takes {tokens}, and {engine.context_size - budget} are kept for the answer",
                hint="`/clear` begins anew; `--overflow compact` summarises what is old, "
                "a larger `--context` holds more",
            )
        if self.policy is Overflow.DROP or not self._compact(engine, budget, system, turns):
            self._drop(engine, budget, system, turns)
        return self._view(system, turns)

    # what is shown ---------------------------------------------------------------------------

    def _view(self, system: str | None, turns: Sequence[Message]) -> list[Message]:
        return view(system, turns, self._active, self._first)

    def _is_least(self, turns: Sequence[Message], engine: Engine, tokens: int) -> bool:
        """Tell whether nothing is left to leave out; then the answer gets the room that there is."""
        is_alone = self._active is None and self._first >= beginnings(turns)[-1]
        return is_alone and tokens <= largest_prompt(engine.context_size)

    def _settle(
        self, engine: Engine, options: SamplingOptions, system: str | None, turns: Sequence[Message]
    ) -> None:
        """Choose again what is shown when there is more room than before."""
        budget = prompt_room(engine.context_size, options)
        if budget > self._budget:
            before = (self._active, self._first) if self._budget else None
            self._widen(engine, budget, system, turns)
            if before is not None and before != (self._active, self._first):
                what = "more of the conversation" if self._active else "all of the conversation"
                self._emit(Notice(f"the model sees {what} again", topic="context"))
        self._budget = budget

    def _widen(self, engine: Engine, budget: int, system: str | None, turns: Sequence[Message]) -> None:
        """Show as much as fits: everything, else with the summary that covers least of it."""
        self._first = 0
        for compaction in (None, *self.compactions):
            self._active = compaction
            if count_tokens(engine, view(system, turns, compaction)) <= budget:
                return

    # leaving out -----------------------------------------------------------------------------

    def _compact(self, engine: Engine, budget: int, system: str | None, turns: Sequence[Message]) -> bool:
        """Have the oldest turns summarised, or use a summary there is; tell whether that made room."""
        known = self.compactions[-1] if self.compactions else None
        is_unused = known is not None and known is not self._active
        if known is not None and is_unused and count_tokens(engine, view(system, turns, known)) <= budget:
            self._active, self._first = known, 0
            self._tell_summary(known)
            return True
        if not engine.has_template:  # such a model goes on with a text, it does not do what it is asked
            return False
        low, high = _SUMMARY_TOKENS
        longest = min(max(budget // _SUMMARY_SHARE, low), high)
        base = known.last + 1 if known else 0
        blank = Compaction("", 0, -1, "")  # what stands around a summary takes room too
        starts = [start for start in beginnings(turns) if start > base]
        start = _first_fitting(
            starts, budget - longest, lambda at: count_tokens(engine, view(system, turns, blank, at))
        )
        if start is None:
            self._tell_failure("the last message leaves no room for one")
            return False
        self._emit(
            Notice(
                f"the context of {engine.context_size} tokens is full: "
                f"summarising {_counted(base, start - base)}",
                hint="the saved conversation keeps them; `--overflow drop` leaves them out without a summary",
                topic="compacting",
            )
        )
        try:
            text = summarise(engine, system, turns[:start], known, longest, self._strip)
        except SummaryFailedError as error:
            self._tell_failure(str(error))
            return False
        made = Compaction(text, 0, start - 1, now())
        if count_tokens(engine, view(system, turns, made)) > budget:
            self._tell_failure("it is too long")
            return False
        self._active, self._first = made, 0
        self.compactions.append(made)
        self._tell_summary(made)
        return True

    def _drop(self, engine: Engine, budget: int, system: str | None, turns: Sequence[Message]) -> None:
        """Leave out the oldest turns, and the summary too when it must be."""
        first = max(self._first, self._active.last + 1 if self._active else 0)
        starts = [start for start in beginnings(turns) if start > first]
        kept, start = self._active, self._longest_view(engine, budget, system, turns, self._active, starts)
        if start is None:
            kept, start = None, self._longest_view(engine, budget, system, turns, None, [first, *starts])
        self._active, self._first = kept, beginnings(turns)[-1] if start is None else start
        left_out = _counted(0, self._first)
        summarised = f", of which {self._active.last + 1} are summarised" if self._active else ""
        self._emit(
            Notice(
                f"the context of {engine.context_size} tokens is full: the model no longer sees "
                f"{left_out}{summarised}",
                hint=f"they stay in the saved conversation; {_LARGER}",
                topic="dropped",
            )
        )

    def _longest_view(
        self,
        engine: Engine,
        budget: int,
        system: str | None,
        turns: Sequence[Message],
        kept: Compaction | None,
        starts: Sequence[int],
    ) -> int | None:
        return _first_fitting(starts, budget, lambda at: count_tokens(engine, view(system, turns, kept, at)))

    # telling ---------------------------------------------------------------------------------

    def _tell_summary(self, compaction: Compaction) -> None:
        what = _counted(0, compaction.last + 1)
        self._emit(Notice(f"the model now sees a summary of {what}: {compaction.summary}", topic="summary"))

    def _tell_failure(self, reason: str) -> None:
        self._emit(Notice(f"no summary could be made: {reason}", topic="compacting"))


def _grow(engine: Engine, tokens: int, options: SamplingOptions) -> None:
    """Let a context that may grow do so, before anything is left out or an answer cut."""
    whole = tokens + (options.max_tokens or 0) * options.n
    if options.max_tokens is not None and whole > engine.context_size and engine.grow(whole):
        return
    if tokens > prompt_room(engine.context_size, options):
        engine.grow(needed_context(tokens, options))


def _first_fitting(starts: Sequence[int], room: int, tokens_from: Callable[[int], int]) -> int | None:
    """Return where to begin so that the prompt is well below `room`, unless only the last start would be.

    Then it is the first start that fits at all; None when there is none. A later start takes fewer tokens.
    """
    full = bisect_left(starts, True, key=lambda at: tokens_from(at) <= room)
    if full == len(starts):
        return None
    relieved = bisect_left(starts, True, lo=full, key=lambda at: tokens_from(at) <= room * _RELIEF)
    return starts[relieved] if relieved < len(starts) - 1 else starts[full]


def _counted(before: int, count: int) -> str:
    """Return how to speak of messages, `before` of which were spoken of already."""
    if before:
        return f"{count} more messages" if count > 1 else "1 more message"
    return f"the first {count} messages" if count > 1 else "the first message"
