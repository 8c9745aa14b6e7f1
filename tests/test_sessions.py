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

from localllm.conversation import Message, Role
from localllm.errors import SessionError, StorageError, UsageError
from localllm.sessions import open_session, save_session, session_path, sessions_directory

TALK = (Message(Role.USER, "Hi \u00e9\U0001f999\n"), Message(Role.ASSISTANT, "Hello"))


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "talk.json"
    saved = open_session(str(path), "demo").with_messages(TALK)
    save_session(saved)
    assert open_session(str(path), "other") == type(saved)(path, "other", TALK, saved.created)
    assert json.loads(path.read_text(encoding="utf-8"))["model"] == "demo"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    save_session(open_session(str(path), "demo").with_messages(TALK))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_name_lies_in_the_home(pinned_environment: Path) -> None:
    assert session_path("my talk-1.2") == sessions_directory() / "my talk-1.2.json"
    assert pinned_environment in sessions_directory().parents


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "a\nb", "x" * 81, "a:b", "caf\udcff"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a session's name"):
        session_path(name)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"messages": 3}',
        '{"messages": [{"role": "god", "content": "x"}], "created": ""}',
    ],
)
def test_a_damaged_file_is_an_error_and_stays(content: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text(content)
    with pytest.raises(SessionError, match="is not a saved conversation"):
        open_session(str(path), "demo")
    assert path.read_text() == content


def test_a_file_that_is_not_text_is_an_error_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SessionError, match="cannot read the session"):
        open_session(str(path), "demo")
    assert path.read_bytes() == b"\xff\xfe"


def test_a_full_disk_keeps_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talk.json"
    session = open_session(str(path), "demo").with_messages(TALK[:1])
    save_session(session)
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(StorageError, match="no space left"):
        save_session(session.with_messages(TALK))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
