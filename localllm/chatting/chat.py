"""A conversation with an engine: remembers, saves as it goes, says when it must leave turns out.

Nothing said is lost: answers that were replaced stay in the file as alternatives of what replaced them, and
what no longer fits into the context stays too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from localllm import sessions
from localllm.chatting.keeping import Keeper, Memory
from localllm.chatting.reply import Alternatives, Reply, replaced, strip_reasoning
from localllm.compaction import SummaryInterruptedError, Window
from localllm.compaction.summary import as_dicts
from localllm.conversation import Message, Overflow, Role, now, well_formed, with_system
from localllm.engine import Chunk, Engine, FinishReason, SamplingOptions, Statistics
from localllm.errors import LocalLLMError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.sessions import Saved, Session

_CONSTRAINTS = ("grammar", "json_schema")  # one takes the place of the other


@dataclass(frozen=True)
class ContextUsage:
    """How many tokens of the context the conversation takes, as the model sees it.

    `context_size` is None where nobody knows it; the tokens are a guess unless `is_exact`.
    """

    tokens: int
    context_size: int | None
    is_exact: bool = True


class Chat:
    """One conversation. `resumed` is how many messages were there already; `options` are those in effect.

    `options` given here go before those that the session remembers, `system` takes the place of its system
    prompt. Close it before the engine.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        options: SamplingOptions | None = None,
        model: str,
        memory: Memory = None,
        overflow: Overflow = Overflow.COMPACT,
        system: str | None = None,
        persona: str | None = None,
        emit: Emit = ignore,
    ) -> None:
        self.engine = engine
        self.model = model
        self.last_statistics: Statistics | None = None
        self._emit = emit
        self._overflow = overflow
        self._take_up(memory, options or SamplingOptions())
        if system is not None:
            self._system, self._persona = well_formed(system) or None, persona

    def _take_up(self, memory: Memory, given: SamplingOptions) -> None:
        """Begin with what a session holds."""
        self._keeper = Keeper(memory, self._emit)
        saved = self._keeper.saved
        self._turns = list(saved.turns)
        self._system, self._persona = saved.system, saved.persona
        self.options = _merged(saved.options, given, self._emit)
        self._window = Window(self._overflow, saved.compactions, strip_reasoning, self._emit)
        self.resumed = len(self._turns)
        self._keeper.restore_state(self.engine)

    # what there is ---------------------------------------------------------------------------

    @property
    def messages(self) -> list[Message]:
        """Return everything said, the system message first."""
        return with_system(self._system, self._turns)

    @property
    def system(self) -> str | None:
        """Return the system prompt."""
        return self._system

    @property
    def persona(self) -> str | None:
        """Return the name of the persona whose system prompt is in effect."""
        return self._persona

    @property
    def name(self) -> str | None:
        """Return what the session is called; None for one that is not saved, or has no name yet."""
        return self._keeper.memory.name if self._keeper.memory else None

    @property
    def is_saved(self) -> bool:
        """Tell whether this conversation is kept on disk."""
        return self._keeper.memory is not None

    def seen(self) -> list[Message]:
        """Return what the model is shown of the conversation as it stands."""
        return self._window.shown(self.engine, self.options, self._system, self._turns)

    def usage(self) -> ContextUsage:
        """Return how full the context is."""
        if self._turns:
            tokens = self.engine.count_tokens(as_dicts(self.seen()))
        else:
            tokens = self.engine.count_text(self._system or "")
        size = self.engine.context_size if self.engine.knows_context else None
        return ContextUsage(tokens, size, self.engine.counts_exactly)

    # talking ---------------------------------------------------------------------------------

    def ask(self, text: str) -> Iterator[Chunk]:
        """Add a user message and yield the answer; both are kept, also when the answer is cut short.

        Without a single word of an answer the question is taken back. Raise UsageError for an empty message;
        iterating raises GenerationError when it cannot be answered.
        """
        return self._answer([*self._turns, _question(text)])

    def regenerate(self) -> Iterator[Chunk]:
        """Answer the last question anew; the old answer becomes an alternative of the new one.

        Without a single word of a new answer the old one stays. Raise UsageError when there is no question.
        """
        at = self._last_question()
        return self._answer(self._turns[: at + 1], replaced(self._turns[at + 1 :]))

    def edit(self, text: str) -> Iterator[Chunk]:
        """Put `text` in place of the last question and answer it; what stood there becomes an alternative.

        Without a single word of an answer everything stays as it was. Raise UsageError when there is no
        question, or for an empty one.
        """
        question, at = _question(text), self._last_question()
        question = replace(question, alternatives=replaced(self._turns[at:]))
        return self._answer([*self._turns[:at], question])

    def undo(self) -> Message | None:
        """Take the last question and its answer back, also from the file; return the question."""
        questions = [index for index, turn in enumerate(self._turns) if turn.role is Role.USER]
        if not questions:
            return None
        question = self._turns[questions[-1]]
        self._go_on_with(self._turns[: questions[-1]])
        self._save()
        return question

    def _answer(self, turns: list[Message], alternatives: Alternatives = ()) -> Iterator[Chunk]:
        """Yield the answer to the last of `turns`, which takes the place of `alternatives`."""
        before, compactions = self._turns, list(self._window.compactions)
        opened = self.engine.opens_reasoning
        reply = Reply(self.model, self.options.n, alternatives, opened=opened)
        self._window.require_possible(self.engine, self.options, self._system, turns)
        self._go_on_with(turns)
        try:
            if not alternatives:  # they stand in the file until there is something in their place
                self._save()
            prompt = self._window.make_room(self.engine, self.options, self._system, turns)
            if self._window.compactions != compactions and not alternatives:
                self._save()  # a summary takes long to make
            for chunk in self.engine.stream(as_dicts(prompt), self.options):
                reply.add(chunk)
                self._save_partly(reply)
                yield chunk
        except SummaryInterruptedError:
            yield Chunk("", 0, FinishReason.INTERRUPTED, Statistics(0, 0, 0, 0.0, 0.0))
        finally:
            self._note_work(reply)
            answer = reply.message()
            if answer is not None:
                self._turns = [*turns, answer]
            else:
                self._go_on_with(before)
                if len(compactions) > len(self._window.compactions):
                    self._window.compactions = compactions
            self._save()
        if answer is None:
            self._emit(Notice("there is no answer, and the conversation is as it was before", topic="empty"))
        self._keeper.keep_state_if_due(self.engine)

    def _last_question(self) -> int:
        at = next((i for i in reversed(range(len(self._turns))) if self._turns[i].role is Role.USER), None)
        if at is None:
            raise UsageError("nothing was asked yet")
        return at

    def _go_on_with(self, turns: list[Message]) -> None:
        """Take other turns; the window is told when they are not the old ones with more behind them."""
        if turns[: len(self._turns)] != self._turns:
            self._window.cut(len(turns))
        self._turns = turns

    def _note_work(self, reply: Reply) -> None:
        if reply.statistics is not None:
            self.last_statistics = reply.statistics
        if reply.has_begun:
            self._keeper.note_work(reply.statistics)

    # settings --------------------------------------------------------------------------------

    def set_system(self, text: str | None, *, persona: str | None = None) -> None:
        """Use another system prompt from the next message on, or none."""
        self._system, self._persona = (well_formed(text) or None) if text else None, persona
        self._save_if_begun()

    def set_options(self, options: SamplingOptions) -> None:
        """Use other sampling options from the next message on; the session remembers them."""
        self.options = options
        self._save_if_begun()

    def switch(self, engine: Engine, model: str) -> None:
        """Go on with another engine, which then reads the conversation; the old one is not closed."""
        self.engine, self.model = engine, model
        self._window.cut(len(self._turns))
        self._keeper.forget_work()
        self._save_if_begun()

    # the session -----------------------------------------------------------------------------

    def clear(self) -> None:
        """Begin anew with the same settings, in a session of its own; the old one stays as it is."""
        system, persona, was_saved = self._system, self._persona, self.is_saved
        self.close()
        self._take_up(sessions.begin(self.model) if was_saved else None, self.options)
        self._system, self._persona = system, persona

    def resume(self, memory: Session) -> None:
        """Go on with another session; its own options and system prompt are taken up."""
        self.close()
        self._take_up(memory, SamplingOptions())

    def rename(self, name: str) -> None:
        """Give the session a name; a conversation that was not saved is saved under it from now on.

        Raise UsageError for a name that is taken or impossible, SessionError, StorageError.
        """
        if self._keeper.memory is not None:
            self._keeper.memory.rename(name)
        else:
            memory = sessions.open_session(name, self.model)
            if memory.saved.turns:
                memory.close()
                raise UsageError(f"there is a session `{name}` already", hint="choose another name")
            self._keeper.memory = memory
        self._save_if_begun()

    def close(self) -> None:
        """Keep what the engine has read and let other processes have the session; safe to call twice."""
        self._keeper.close(self.engine)

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _save_if_begun(self) -> None:
        """Save settings, but do not make a file of a conversation in which nothing was said yet."""
        if self._turns:
            self._save()

    def _save_partly(self, reply: Reply) -> None:
        """Save an answer that is not complete yet, now and then."""
        if self._keeper.is_due:
            answer = reply.message()
            if answer is not None:
                self._keeper.save_in_passing(self._content([*self._turns, answer]))

    def _save(self) -> None:
        self._keeper.save(self._content(self._turns))

    def _content(self, turns: Sequence[Message]) -> Saved:
        return replace(
            self._keeper.saved,
            model=self.model,
            turns=tuple(turns),
            system=self._system,
            persona=self._persona,
            options=self.options.to_dict(),
            compactions=tuple(each for each in self._window.compactions if each.last < len(turns)),
        )


def _question(text: str) -> Message:
    if not text.strip():
        raise UsageError("the message is empty")
    return Message(Role.USER, well_formed(text), now())


def _merged(remembered: Mapping[str, Any], given: SamplingOptions, emit: Emit) -> SamplingOptions:
    """Return the options a session remembers with those given in front."""
    own = given.to_dict()
    if any(name in own for name in _CONSTRAINTS):
        remembered = {name: value for name, value in remembered.items() if name not in _CONSTRAINTS}
    try:
        return SamplingOptions.from_dict({**remembered, **own})
    except LocalLLMError as error:
        emit(Notice(f"the options saved with the session are not used: {error.message}", topic="options"))
        return given
