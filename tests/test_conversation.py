"""What fits into a context stays in order, begins with a user message and keeps the system message."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.conversation import Message, Role, fit, well_formed
from localllm.errors import GenerationError


def words(messages: Sequence[Message]) -> int:
    return sum(len(message.content.split()) for message in messages)


def conversation(*contents: str, system: str | None = None) -> list[Message]:
    roles = [Role.USER if index % 2 == 0 else Role.ASSISTANT for index in range(len(contents))]
    turns = [Message(role, text) for role, text in zip(roles, contents, strict=True)]
    return ([Message(Role.SYSTEM, system)] if system else []) + turns


def test_everything_stays_when_it_fits() -> None:
    messages = conversation("a b", "c", "d", system="s")
    assert fit(messages, words, 5) == (messages, 0)


def test_the_oldest_turns_go_first_and_the_system_message_stays() -> None:
    messages = conversation("a b", "c", "d", system="s")
    assert fit(messages, words, 4) == ([messages[0], messages[3]], 2)


def test_a_message_larger_than_the_context_is_refused() -> None:
    with pytest.raises(GenerationError, match="does not fit"):
        fit(conversation("a b c", system="s"), words, 3)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=9).filter(lambda sizes: len(sizes) % 2 == 1),
    st.integers(0, 40),
    st.booleans(),
)
def test_what_is_kept_is_an_end_of_the_conversation(sizes: list[int], budget: int, has_system: bool) -> None:
    messages = conversation(*("w " * size for size in sizes), system="s" if has_system else None)
    system = messages[:1] if has_system else []
    try:
        kept, left_out = fit(messages, words, budget)
    except GenerationError:
        assert words([*system, messages[-1]]) > budget
        return
    assert kept == [*system, *messages[len(system) + left_out :]]
    assert kept[len(system)].role is Role.USER
    assert words(kept) <= budget


@pytest.mark.parametrize(
    ("text", "mended"),
    [("caf\udcff", "caf\ufffd"), ("\ud83e\udd99", "\U0001f999"), ("plain \u00e9", "plain \u00e9")],
)
def test_what_is_not_text_is_replaced(text: str, mended: str) -> None:
    assert well_formed(text) == mended
