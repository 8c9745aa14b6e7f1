"""A chat keeps all that was said, saves it as it goes, and says what the model no longer sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localllm.chatting import Chat
from localllm.conversation import Role
from localllm.engine import Chunk, SamplingOptions
from localllm.engine.base import Messages
from localllm.engine.scripted import ScriptedEngine
from localllm.errors import GenerationError, UsageError
from localllm.events import Event, Notice
from localllm.sessions import open_session


class BrokenEngine(ScriptedEngine):
    """Breaks down after two words."""

    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        yield from list(super().stream(messages, options))[:2]
        raise GenerationError("the graphics card has left")


def said(chat: Chat, text: str) -> str:
    return "".join(chunk.text for chunk in chat.ask(text))


def contents(path: Path) -> list[str]:
    return [message.content for message in open_session(str(path), "x").messages]


def test_the_model_sees_the_whole_conversation() -> None:
    engine = ScriptedEngine(["Hello Ada", "Ada"])
    chat = Chat(engine, SamplingOptions(), model="m", system="Be brief")
    assert [said(chat, "I am Ada"), said(chat, "Who am I?")] == ["Hello Ada", "Ada"]
    assert [m["content"] for m in engine.seen[1]] == ["Be brief", "I am Ada", "Hello Ada", "Who am I?"]


def test_the_question_is_saved_before_the_answer_begins(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    chat = Chat(ScriptedEngine(["one two three"]), SamplingOptions(), model="m", session=str(path))
    answer = chat.ask("count")
    next(answer)
    assert contents(path) == ["count"]
    list(answer)
    assert contents(path) == ["count", "one two three"]


def test_a_session_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    said(
        Chat(ScriptedEngine(["Hi"]), SamplingOptions(), model="m", session=str(path), system="old"),
        "I am Ada",
    )
    engine = ScriptedEngine(["Ada"])
    chat = Chat(engine, SamplingOptions(), model="m", session=str(path), system="new")
    assert chat.resumed == 3
    said(chat, "Who am I?")
    assert [m["content"] for m in engine.seen[0]] == ["new", "I am Ada", "Hi", "Who am I?"]
    assert contents(path) == ["new", "I am Ada", "Hi", "Who am I?", "Ada"]


def test_what_was_said_before_a_failure_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    chat = Chat(BrokenEngine(["one two three"]), SamplingOptions(), model="m", session=str(path))
    with pytest.raises(GenerationError, match="has left"):
        said(chat, "count")
    assert contents(path) == ["count", "one two"]


def test_an_answer_that_never_began_is_forgotten_with_its_question(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    chat = Chat(ScriptedEngine([""]), SamplingOptions(), model="m", session=str(path))
    said(chat, "anybody there?")
    assert chat.messages == []
    assert contents(path) == []


def test_bytes_that_are_no_text_do_not_stop_the_chat(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    chat = Chat(ScriptedEngine(["Yes"]), SamplingOptions(), model="m", session=str(path))
    said(chat, "caf\udcff?")
    assert contents(path) == ["caf\ufffd?", "Yes"]


def test_an_empty_message_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        said(Chat(ScriptedEngine(["x"]), SamplingOptions(), model="m"), "  ")


def test_it_says_once_what_no_longer_fits(tmp_path: Path) -> None:
    path, events = tmp_path / "talk.json", list[Event]()
    engine = ScriptedEngine(["four words right here"], context_size=16)
    chat = Chat(engine, SamplingOptions(), model="m", session=str(path), emit=events.append)
    for _ in range(3):
        said(chat, "one two three four")
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert len(notices) == 1
    assert "no longer sees the first 2 messages" in notices[0]
    assert len(contents(path)) == 6
    assert engine.seen[-1][0]["role"] == Role.USER
