"""The history: private, across runs, of bounded size, and readable by prompt_toolkit's own class."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from prompt_toolkit.history import FileHistory

from localllm.cli.chat.history import PrivateHistory


def strings(path: Path) -> list[str]:
    history = PrivateHistory(path)
    return list(reversed(list(history.load_history_strings())))


def test_entries_outlive_the_run(tmp_path: Path) -> None:
    path = tmp_path / "home" / "history"
    history = PrivateHistory(path)
    for text in ("one", "two\nlines\n", "\udcff", "# no comment"):
        history.append_string(text)
    assert strings(path) == ["one", "two\nlines\n", "\ufffd\ufffd\ufffd", "# no comment"]
    assert list(FileHistory(path).load_history_strings())[-1] == "one"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX")
def test_it_is_private(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.touch(0o644)
    PrivateHistory(path).append_string("one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_written_when_not_to_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = PrivateHistory(path, keeps=False)
    history.append_string("one")
    assert history.get_strings() == ["one"]
    assert not path.exists()


def test_what_is_said_twice_in_a_row_is_one_entry(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = PrivateHistory(path)
    for text in ("one", "one", " ", "two", "one"):
        history.append_string(text)
    assert strings(path) == ["one", "two", "one"]


def test_a_long_history_loses_its_older_half(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = PrivateHistory(path)
    for number in range(6):
        history.append_string(f"{number} " + "x" * 300_000)
    assert path.stat().st_size < 1_500_000
    assert [text.split()[0] for text in strings(path)] == ["3", "4", "5"]
    assert not list(tmp_path.glob(".history*"))


def test_a_history_that_cannot_be_kept_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = PrivateHistory(tmp_path / "file" / "history")
    history.append_string("one")
    assert history.get_strings() == ["one"]
