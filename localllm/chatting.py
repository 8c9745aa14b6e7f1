"""A conversation with an engine: remembers, saves after every message, says when it must leave turns out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from localllm.conversation import Message, Role, fit, well_formed
from localllm.engine import Chunk, Engine, SamplingOptions
from localllm.errors import UsageError
from localllm.events import Emit, Notice, ignore
from localllm.sessions import Session, open_session, save_session

_ANSWER_ROOM = 0.25  # share of the context kept free for the answer


class Chat:
    """One conversation. `messages` holds all of it, also what no longer fits into the context."""

    def __init__(
        self,
        engine: Engine,
        options: SamplingOptions,
        *,
        model: str,
        system: str | None = None,
        session: str | None = None,
        emit: Emit = ignore,
    ) -> None:
        self.engine = engine
        self._options = options
        self._emit = emit
        self._left_out = 0
        self._session: Session | None = open_session(session, model) if session else None
        saved = list(self._session.messages) if self._session else []
        self.resumed = len(saved)
        self.messages: list[Message] = _with_system(saved, system)

    def ask(self, text: str) -> Iterator[Chunk]:
        """Add a user message and yield the answer; both are kept, also when the answer is cut short.

        An answer that was interrupted before its first word is forgotten together with its question.
        Raise GenerationError when the message cannot be answered; it is then not kept.
        """
        if not text.strip():
            raise UsageError("the message is empty")
        question = Message(Role.USER, well_formed(text))
        prompt = self._fitting([*self.messages, question])
        self.messages.append(question)
        self._save()
        parts: list[str] = []
        try:
            for chunk in self.engine.stream(_as_dicts(prompt), self._options):
                parts.append(chunk.text)
                yield chunk
        finally:
            self._keep_answer("".join(parts))

    def _keep_answer(self, answer: str) -> None:
        if answer:
            self.messages.append(Message(Role.ASSISTANT, answer))
        else:
            self.messages.pop()
        self._save()

    def _fitting(self, messages: list[Message]) -> list[Message]:
        """Return what fits into the context; tell when more had to be left out than before."""
        reserve = min(self._options.max_tokens or 2**31, int(self.engine.context_size * _ANSWER_ROOM))
        budget = self.engine.context_size - reserve
        kept, left_out = fit(messages, lambda part: self.engine.count_tokens(_as_dicts(part)), budget)
        if left_out > self._left_out:
            self._emit(
                Notice(
                    f"the context of {self.engine.context_size} tokens is full: the model no longer sees "
                    f"the first {left_out} messages",
                    hint="they stay in the saved session; a larger `--context` lets it see more",
                )
            )
        self._left_out = left_out
        return kept

    def _save(self) -> None:
        if self._session:
            save_session(self._session.with_messages(self.messages))


def _with_system(messages: list[Message], system: str | None) -> list[Message]:
    """Put `system` first, in place of a saved one; keep the saved one when none is given."""
    if system is None:
        return messages
    rest = [message for message in messages if message.role is not Role.SYSTEM]
    return [Message(Role.SYSTEM, well_formed(system)), *rest]


def _as_dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role.value, "content": message.content} for message in messages]
