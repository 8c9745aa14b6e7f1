"""A conversation as data: who said what, and what of it fits into a context (pure)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from localllm.errors import GenerationError


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


def well_formed(text: str) -> str:
    """Replace what is not text: bytes that were not UTF-8 arrive as lone surrogates, unfit for a file."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


TokenCounter = Callable[[Sequence[Message]], int]


def fit(messages: Sequence[Message], count_tokens: TokenCounter, budget: int) -> tuple[list[Message], int]:
    """Leave out the oldest turns until the prompt takes at most `budget` tokens.

    The system message and the last user message always stay, and what remains begins with a user
    message. Return the messages and how many were left out. Raise GenerationError when even the
    least does not fit.
    """
    system = [message for message in messages[:1] if message.role is Role.SYSTEM]
    turns = list(messages[len(system) :])
    starts = [index for index, message in enumerate(turns) if message.role is Role.USER] or [0]
    for start in starts:
        kept = [*system, *turns[start:]]
        if count_tokens(kept) <= budget:
            return kept, start
    raise GenerationError(
        f"the message does not fit into the context: {budget} tokens are free for it",
        hint="shorten the message or choose a larger `--context`",
    )
