"""What a model is shown: the system message, a summary if there is one, and turns that alternate."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.conversation import (
    SUMMARY_LEAD,
    Compaction,
    Message,
    Role,
    beginnings,
    view,
    well_formed,
)

ROLES = st.sampled_from([Role.USER, Role.ASSISTANT])
TURNS = st.lists(st.builds(Message, ROLES, st.text(max_size=5)), max_size=12)


def conversation(*contents: str) -> list[Message]:
    roles = [Role.USER if index % 2 == 0 else Role.ASSISTANT for index in range(len(contents))]
    return [Message(role, text) for role, text in zip(roles, contents, strict=True)]


def test_everything_is_shown_behind_the_system_message() -> None:
    turns = conversation("a", "b", "c")
    assert view("s", turns) == [Message(Role.SYSTEM, "s"), *turns]
    assert view(None, turns) == turns


def test_a_summary_stands_for_what_it_covers() -> None:
    turns = conversation("a", "b", "c", "d", "e")
    shown = view("s", turns, Compaction("They greeted.", 0, 1, ""))
    assert [message.role for message in shown] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert shown[1].content == f"{SUMMARY_LEAD}\n\nThey greeted."
    assert shown[3:] == turns[2:]
    assert view("s", turns, Compaction("x", 0, 1, ""), first=4)[3:] == turns[4:]


def test_reasoning_alone_is_not_shown_and_questions_in_a_row_are_joined() -> None:
    turns = [
        Message(Role.USER, "a"),
        Message(Role.ASSISTANT, "", reasoning="hm"),
        Message(Role.USER, "b"),
    ]
    assert view(None, turns) == [Message(Role.USER, "a\n\nb")]


def test_where_what_is_shown_may_begin() -> None:
    turns = [*conversation("a", "b", "c"), Message(Role.USER, "d"), Message(Role.ASSISTANT, "e")]
    assert beginnings(turns) == [0, 2]
    assert beginnings([]) == []


@given(TURNS, st.integers(0, 12))
def test_roles_take_turns_and_no_word_of_a_question_is_lost(turns: list[Message], first: int) -> None:
    shown = view("s", turns, first=first)
    roles = [message.role for message in shown]
    assert roles[0] == Role.SYSTEM
    assert all(a != b for a, b in pairwise(roles))
    asked = "\n\n".join(turn.content for turn in turns[first:] if turn.role is Role.USER)
    assert sum(len(m.content) for m in shown if m.role is Role.USER) <= len(asked)


@pytest.mark.parametrize(
    ("text", "mended"),
    [("caf\udcff", "caf\ufffd"), ("\ud83e\udd99", "\U0001f999"), ("plain \u00e9", "plain \u00e9")],
)
def test_what_is_not_text_is_replaced(text: str, mended: str) -> None:
    assert well_formed(text) == mended
