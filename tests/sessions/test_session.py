"""A saved conversation is whole or as it was before; what cannot be read is never overwritten."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from localllm import sessions
from localllm.conversation import Compaction, Message, Role
from localllm.errors import NotFoundError, SessionError, StorageError, UsageError
from localllm.sessions import ChangedError, Saved, open_session, read_saved, sessions_directory

TALK = (
    Message(Role.USER, "Hi \u00e9\U0001f999\n", created="2026-11-25T14:03:00+00:00"),
    Message(
        Role.ASSISTANT,
        "Hello",
        created="2026-11-25T14:03:01+00:00",
        model="demo:Q8_0",
        reasoning="a greeting",
        finish_reason="length",
        alternatives=(
            (Message(Role.ASSISTANT, "Hey"),),
            (Message(Role.USER, "x"), Message(Role.ASSISTANT, "y")),
        ),
    ),
)
FULL = Saved(
    model="demo",
    turns=TALK,
    system="Be brief",
    persona="terse",
    options={"temperature": 0.5},
    compactions=(Compaction("They greeted.", 0, 1, "2026-11-25T14:03:02+00:00"),),
    extra={"from": "elsewhere", "tags": [1]},
)


def save(path: Path, saved: Saved) -> None:
    with open_session(str(path)) as session:
        session.save(saved)


# what is in a file --------------------------------------------------------------------------


@pytest.mark.parametrize("saved", [FULL, Saved(model="demo", turns=TALK), Saved()])
def test_what_is_saved_is_read_back(saved: Saved, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "talk.json"
    save(path, saved)
    found = read_saved(path)
    assert found == Saved(**{**vars(saved), "updated": found.updated})
    assert found.updated >= saved.updated


def test_the_file_is_readable_json_with_messages_as_others_write_them(tmp_path: Path) -> None:
    save(tmp_path / "talk.json", FULL)
    text = (tmp_path / "talk.json").read_text(encoding="utf-8")
    content = json.loads(text)
    assert content["schema"] == 2
    assert content["options"] == {"temperature": 0.5}
    assert content["compactions"][0]["covers"] == [1, 2], "counted in the messages as they stand here"
    assert [(m["role"], m["content"]) for m in content["messages"]] == [
        ("system", "Be brief"),
        ("user", "Hi \u00e9\U0001f999\n"),
        ("assistant", "Hello"),
    ]
    assert '\n  {"role": "user", "content": "Hi \u00e9\U0001f999\\n", "created": "2026-' in text


def test_the_first_schema_is_read_and_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text(
        '{"schema": 1, "model": "demo", "created": "2026-01-01T00:00:00+00:00", "updated": "x", "messages": '
        '[{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]}'
    )
    with open_session(str(path)) as session:
        assert (session.saved.model, session.saved.system) == ("demo", "Be brief")
        assert session.saved.turns == (Message(Role.USER, "Hi"),)
        session.save(session.saved)
        assert session.saved.created == "2026-01-01T00:00:00+00:00"
    assert json.loads(path.read_text())["schema"] == 2


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text('{"schema": 3, "talk": []}')
    with pytest.raises(SessionError, match="newer localllm"):
        open_session(str(path))
    assert path.read_text() == '{"schema": 3, "talk": []}'


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"messages": 3}',
        '{"messages": [{"role": "god", "content": "x"}], "created": ""}',
        '{"messages": [{"role": "user", "content": ["x"]}], "created": ""}',
        '{"messages": [{"role": "user", "content": "x", "alternatives": [3]}], "created": ""}',
        '{"messages": [], "created": "", "compactions": [{"covers": [1]}]}',
        '{"messages": [], "created": "", "options": 3}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_an_error_and_stays(content: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text(content)
    with pytest.raises(SessionError, match="is not a saved conversation") as caught:
        open_session(str(path))
    assert "move it away" in (caught.value.hint or "")
    assert path.read_text() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00\xd8"])
def test_a_file_that_is_not_text_is_an_error_and_stays(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_bytes(content)
    with pytest.raises(SessionError, match=r"cannot read|not a saved"):
        open_session(str(path))
    assert path.read_bytes() == content


def test_what_is_not_text_in_a_file_can_be_saved_again(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text('{"created": "", "messages": [{"role": "user", "content": "a\\ud83d"}]}')
    with open_session(str(path)) as session:
        session.save(session.saved)
        assert session.saved.turns[0].content == "a\ufffd"


def test_a_summary_of_messages_that_are_gone_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    save(path, FULL)
    content = json.loads(path.read_text())
    content["messages"].pop()
    path.write_text(json.dumps(content))
    assert read_saved(path).compactions == ()


# saving -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_only_the_owner_can_read_it() -> None:
    directory = sessions_directory()
    directory.mkdir(parents=True, mode=0o755)
    with open_session("talk") as session:
        session.save(FULL)
        assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_full_disk_keeps_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talk.json"
    with open_session(str(path)) as session:
        session.save(Saved(turns=TALK[:1]))
        before = path.read_bytes()

        def full(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(StorageError, match="no space left"):
            session.save(FULL)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_another_program_changed_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    with open_session(str(path)) as session:
        session.save(FULL)
        path.write_text("mine")
        with pytest.raises(ChangedError, match="was changed by another program"):
            session.save(FULL)
        assert path.read_text() == "mine"
        path.unlink()
        session.save(FULL)
    assert read_saved(path).turns == TALK


def test_a_file_that_appears_in_the_meantime_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    with open_session(str(path)) as session:
        path.write_text("mine")
        with pytest.raises(ChangedError):
            session.save(FULL)
    assert path.read_text() == "mine"


def test_one_at_a_time_also_in_one_process(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    told = f"open in another localllm, process {os.getpid()}"
    with open_session(str(path)), pytest.raises(SessionError, match=told):
        open_session(str(path))
    open_session(str(path)).close()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".talk.json.lock").write_text("1\n")
    open_session(str(tmp_path / "talk.json")).close()
    assert list(tmp_path.iterdir()) == []


# new, last, renamed -------------------------------------------------------------------------


def test_a_new_session_is_named_when_something_is_said() -> None:
    session = sessions.begin("demo")
    assert (session.name, session.path) == (None, None)
    session.save(Saved(turns=(Message(Role.USER, "What is the capital of France?"),)))
    assert session.name is not None
    assert session.name.endswith(" capital of france")
    other = sessions.begin("demo")
    other.save(Saved(turns=(Message(Role.USER, "What is the capital of France?"),)))
    assert other.name != session.name
    assert len(sessions.session_files()) == 2


def test_the_last_session_is_the_one_written_last() -> None:
    for name in ("b", "a", "c"):
        save(Path(sessions.session_path(name)), FULL)
    for age, name in enumerate(("b", "c", "a")):
        os.utime(sessions.session_path(name), (1000 + age, 1000 + age))
    with sessions.last() as session:
        assert (session.name, session.saved.model) == ("a", "demo")


def test_without_sessions_there_is_no_last() -> None:
    with pytest.raises(NotFoundError, match="no conversation to continue"):
        sessions.last()


def test_renaming() -> None:
    with open_session("old") as session:
        session.save(FULL)
        session.rename("new")
        assert session.name == "new"
        open_session("old").close()
        with pytest.raises(SessionError, match="open in another"):
            open_session("new")
        session.save(FULL)
        session.rename("new")
    assert [path.name for path in sessions.session_files()] == ["new.json"]
    save(sessions.session_path("other"), FULL)
    with open_session("other") as session:
        with pytest.raises(UsageError, match="there is a session `new` already"):
            session.rename("new")
        assert session.name == "other"
        session.save(FULL)
