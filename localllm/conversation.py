"""A conversation as data: who said what, and what of it a model is shown (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

SUMMARY_LEAD = "Here is a summary of our conversation so far:"
SUMMARY_REPLY = "Thank you, I will keep that in mind."


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Overflow(StrEnum):
    """What to do when a conversation no longer fits into the context."""

    COMPACT = "compact"
    DROP = "drop"
    STOP = "stop"


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    `created` is a time in ISO 8601, `model` who answered, `reasoning` what a model thought before it
    answered (never shown to it again), `finish_reason` why an answer ended. `alternatives` are what was
    taken back in favour of this message, each the run of messages that stood from here on.
    """

    role: Role
    content: str
    created: str | None = None
    model: str | None = None
    reasoning: str = ""
    finish_reason: str | None = None
    alternatives: tuple[tuple[Message, ...], ...] = field(default=())

    def without_alternatives(self) -> Message:
        """Return this message alone."""
        return replace(self, alternatives=()) if self.alternatives else self


@dataclass(frozen=True)
class Compaction:
    """A summary that stands for the turns `first` to `last` (counted from 0, without the system message)."""

    summary: str
    first: int
    last: int
    created: str


def well_formed(text: str) -> str:
    """Replace what is not text: bytes that were not UTF-8 arrive as lone surrogates, unfit for a file."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def now() -> str:
    """Return the time in ISO 8601, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def with_system(system: str | None, turns: Iterable[Message]) -> list[Message]:
    """Return `turns` behind the system message, if there is one."""
    return [*([Message(Role.SYSTEM, system)] if system else []), *turns]


def view(
    system: str | None, turns: Sequence[Message], compaction: Compaction | None = None, first: int = 0
) -> list[Message]:
    """Return what a model is shown: the system message, a summary, and the turns from number `first` on.

    The summary is a question and an answer of their own, so that the roles take turns. Messages of one
    role in a row, as a process that was killed can leave them, are joined: many templates refuse them.
    Answers without a word, of which there is only the reasoning, are left out.
    """
    told = []
    if compaction is not None:
        first = max(first, compaction.last + 1)
        told = [
            Message(Role.USER, f"{SUMMARY_LEAD}\n\n{compaction.summary}"),
            Message(Role.ASSISTANT, SUMMARY_REPLY),
        ]
    said = [turn for turn in turns[first:] if turn.content.strip() or turn.role is not Role.ASSISTANT]
    return with_system(system, _joined([*told, *said]))


def beginnings(turns: Sequence[Message]) -> list[int]:
    """Return where what a model is shown may begin: at the first of each run of user messages."""
    return [
        index
        for index, turn in enumerate(turns)
        if turn.role is Role.USER and (index == 0 or turns[index - 1].role is not Role.USER)
    ]


def _joined(messages: Iterable[Message]) -> list[Message]:
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role is message.role:
            joined[-1] = Message(message.role, f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return joined
