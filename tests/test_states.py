"""What a model has read is kept beside a conversation, and used only where it is certainly right."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from localllm import sessions, states
from localllm.chatting import Chat
from localllm.engine import StateInfo
from localllm.engine.scripted import ScriptedEngine
from localllm.errors import StorageError
from localllm.events import Event, Notice
from localllm.verbs.sessions import remove_sessions


@pytest.fixture
def directory(pinned_environment: Path) -> Path:
    return pinned_environment / "localllm" / "states"


def talk(
    engine: ScriptedEngine, *questions: str, name: str = "talk", events: list[Event] | None = None
) -> str:
    """Ask questions in a session and return its id."""
    emit = (events if events is not None else []).append
    with Chat(engine, model="m", memory=sessions.open_session(name), emit=emit) as chat:
        for question in questions:
            list(chat.ask(question))
    return sessions.read_saved(sessions.session_path(name)).id


def messages(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_resumed_conversation_is_not_read_again(directory: Path) -> None:
    session = talk(ScriptedEngine(["Hello Ada"]), "I am Ada")
    assert names(directory) == [f"{session}.json", f"{session}.state"]
    engine, events = ScriptedEngine(["Ada"]), list[Event]()
    memory = sessions.open_session("talk")
    with Chat(engine, model="m", memory=memory, emit=events.append) as chat:
        list(chat.ask("Who am I?"))
        assert chat.last_statistics is not None
        assert (chat.last_statistics.cached_tokens, chat.last_statistics.prompt_tokens) == (5, 8)
    assert events == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_only_the_owner_can_read_it(directory: Path) -> None:
    os.umask(0o022)
    talk(ScriptedEngine(["Hi"]), "Hello")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_what_is_known_of_a_state_is_written_down(directory: Path) -> None:
    engine = ScriptedEngine(["Hello Ada"])
    session = talk(engine, "I am Ada")
    facts = json.loads((directory / f"{session}.json").read_text())
    assert facts["fingerprint"] == engine.fingerprint
    assert (facts["tokens"], facts["size_bytes"]) == (5, (directory / f"{session}.state").stat().st_size)
    assert len(facts["sha256"]) == 64
    assert facts["created"].startswith("20")


def test_a_state_of_another_model_is_removed_and_told(directory: Path) -> None:
    talk(ScriptedEngine(["Hi"]), "Hello")
    events = list[Event]()
    with Chat(
        ScriptedEngine(["x"], name="other"),
        model="m",
        memory=sessions.open_session("talk"),
        emit=events.append,
    ):
        assert messages(events) == [
            "the conversation is read again: its state is of another model, other settings or another version"
        ]
    assert names(directory) == []


def damage_bytes(state: Path) -> None:
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)


def cut_short(state: Path) -> None:
    state.write_bytes(state.read_bytes()[:-1])


def lose_facts(state: Path) -> None:
    state.with_suffix(".json").unlink()


def spoil_facts(state: Path) -> None:
    state.with_suffix(".json").write_bytes(b"\xff[[[")


@pytest.mark.parametrize("damage", [damage_bytes, cut_short, lose_facts, spoil_facts])
def test_a_damaged_state_is_removed_and_the_conversation_read_again(damage: Any, directory: Path) -> None:
    session = talk(ScriptedEngine(["Hi"]), "Hello")
    damage(directory / f"{session}.state")
    engine, events = ScriptedEngine(["Ho"]), list[Event]()
    talk(engine, "Again", events=events)
    assert len(messages(events)) == 1
    assert messages(events)[0].startswith("the conversation is read again: ")
    assert [m["content"] for m in engine.seen[0]] == ["Hello", "Hi", "Again"]
    assert names(directory) == [f"{session}.json", f"{session}.state"], "and kept anew"


def test_an_engine_that_refuses_a_state_reads_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = talk(ScriptedEngine(["Hi"]), "Hello")
    engine = ScriptedEngine(["Hi"], context_size=1)
    events = list[Event]()
    assert states.restore_state(engine, session, emit=events.append) is None
    assert "holds more than the context" in messages(events)[0]
    assert names(directory) == []


def test_where_states_do_not_work_none_is_kept(directory: Path) -> None:
    talk(ScriptedEngine(["Hi"], can_keep_state=False), "Hello")
    assert not directory.exists()


def test_without_a_session_none_is_kept(directory: Path) -> None:
    with Chat(ScriptedEngine(["Hi"]), model="m") as chat:
        list(chat.ask("Hello"))
    assert not directory.exists()


def test_the_oldest_states_go_first(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(["Hi"])
    ids = [talk(engine, "Hello", name=name) for name in ("a", "b", "c")]
    size = (directory / f"{ids[0]}.state").stat().st_size
    for age, session in enumerate(ids):
        os.utime(directory / f"{session}.state", (1000 + age, 1000 + age))
    states.restore_state(engine, ids[0])  # used: no longer the oldest
    monkeypatch.setenv("LOCALLLM_STATES_SIZE", str(3 * size))
    ids.append(talk(engine, "Hello", name="d"))
    assert names(directory) == sorted(f"{ids[n]}{end}" for n in (0, 2, 3) for end in (".json", ".state"))
    assert states.states_size_bytes() == 3 * size


def test_a_state_larger_than_the_limit_is_told_and_not_kept(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALLLM_STATES_SIZE", "10")
    events = list[Event]()
    talk(ScriptedEngine(["Hi"]), "Hello", events=events)
    assert "more than the limit of 10 B" in messages(events)[0]
    assert names(directory) == []


@pytest.mark.parametrize(("limit", "kept"), [("0", False), ("1G", True), ("plenty", True)])
def test_the_limit_is_a_size(
    limit: str, kept: bool, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALLLM_STATES_SIZE", limit)
    events = list[Event]()
    talk(ScriptedEngine(["Hi"]), "Hello", events=events)
    assert directory.exists() == kept
    assert messages(events) == (["LOCALLLM_STATES_SIZE=plenty is no size"] if limit == "plenty" else [])


def test_a_disk_that_refuses_costs_the_state_only(directory: Path) -> None:
    class Full(ScriptedEngine):
        def save_state(self, path: Path) -> StateInfo:
            path.write_text("half")
            raise StorageError("no space left")

    events = list[Event]()
    session = talk(ScriptedEngine(["Hi"]), "Hello")
    talk(Full(["Hi"]), "Again", events=events)
    assert messages(events) == ["what the model has read could not be kept: no space left"]
    assert names(directory) == [f"{session}.json", f"{session}.state"], "the old one still begins right"


def test_a_state_goes_with_its_session(directory: Path) -> None:
    talk(ScriptedEngine(["Hi"]), "Hello", name="a")
    kept = talk(ScriptedEngine(["Hi"]), "Hello", name="b")
    remove_sessions(["a"])
    assert names(directory) == [f"{kept}.json", f"{kept}.state"]


def test_an_id_cannot_lead_elsewhere(directory: Path, pinned_environment: Path) -> None:
    path = sessions.session_path("talk")
    path.parent.mkdir(parents=True)
    path.write_text('{"id": "../../x", "created": "", "messages": []}')
    session = talk(ScriptedEngine(["Hi"]), "Hello")
    assert names(directory) == [f"{session}.json", f"{session}.state"]
    assert len(session) == 16


def test_reading_that_took_long_is_kept_at_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localllm.chatting.keeping._STATE_AT_RISK_SECONDS", 0.0)
    chat = Chat(ScriptedEngine(["Hi"]), model="m", memory=sessions.open_session("talk"))
    list(chat.ask("Hello"))
    assert len(names(directory)) == 2
    chat.close()
