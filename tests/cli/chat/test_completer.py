"""The Tab key: commands, their options, sessions, models and files; never in a message."""

from __future__ import annotations

from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from localllm import sessions
from localllm.chatting import Chat
from localllm.cli.chat.completer import ChatCompleter
from localllm.cli.chat.screen import Screen
from localllm.cli.chat.talk import Talk
from localllm.cli.output import Output
from localllm.engine import ScriptedEngine


@pytest.fixture
def completer() -> ChatCompleter:
    chat = Chat(ScriptedEngine(["Hi"]), model="demo", memory=None)
    return ChatCompleter(Talk(chat, Screen(Output("chat")), lambda _: ScriptedEngine(["Hi"]), lambda _: None))


def completed(completer: ChatCompleter, text: str) -> list[str]:
    """Return what the line can become."""
    found = completer.get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + each.start_position] + each.text for each in found]


def test_commands(completer: ChatCompleter) -> None:
    assert completed(completer, "/re") == ["/regen"]
    assert completed(completer, "/S") == ["/system ", "/set ", "/show", "/stats", "/save "]
    assert completed(completer, "Hello /re") == []
    assert completed(completer, "/none x") == []


def test_options(completer: ChatCompleter) -> None:
    assert completed(completer, "/set top") == ["/set top-p ", "/set top-k "]
    assert completed(completer, "/set think d") == ["/set think dim"]
    assert completed(completer, "/copy c") == ["/copy code"]
    assert "/persona " + completed(completer, "/persona ")[0].removeprefix("/persona ") != "/persona "


def test_models_and_sessions(completer: ChatCompleter) -> None:
    assert "/model demo" in completed(completer, "/model de")
    session = sessions.open_session("my talk", "m")
    with Chat(ScriptedEngine(["Hi"]), model="m", memory=session) as chat:
        list(chat.ask("Hello"))
    assert completed(completer, "/load my") == ["/load my talk"]


def test_files(completer: ChatCompleter, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "nested").mkdir()
    (tmp_path / ".hidden").touch()
    assert completed(completer, f"/attach {tmp_path}/n") == [
        f"/attach {tmp_path}/nested/",
        f"/attach {tmp_path}/notes.txt",
    ]
    assert completed(completer, f"/attach {tmp_path}/.h") == [f"/attach {tmp_path}/.hidden"]
    assert len(completed(completer, f"/system @{tmp_path}/")) == 2
    assert completed(completer, f"/attach {tmp_path}/nowhere/x") == []
