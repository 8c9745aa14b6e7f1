"""Sessions among real processes: killed at any moment, two at once, on a full or a read-only disk."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from localllm import sessions
from localllm.errors import SessionError
from tests.sessions.talking import start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits are POSIX")


def read(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["messages"]
    return found


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == text:
            return
    raise AssertionError(f"the process ended without {text!r}")


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_killed_in_an_answer_what_was_said_is_there(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    process = start(path, 100, 0.05, "tell me a tale")
    wait_for(process, "word49")
    kill(process)
    question, answer = read(path)
    assert question["content"] == "tell me a tale"
    said = answer["content"].split()
    assert said == [f"word{number}" for number in range(len(said))]
    assert 25 <= len(said) <= 50, "at most about a second of it is lost"
    assert answer["finish_reason"] == "interrupted"
    with sessions.open_session(str(path)) as session:
        assert len(session.saved.turns) == 2


def test_killed_before_the_answer_the_question_is_there(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    process = start(path, 1, 30, "tell me a tale")
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    kill(process)
    assert [message["content"] for message in read(path)] == ["tell me a tale"]


def test_killed_at_any_moment_the_file_is_whole_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    dice = random.Random(6)
    before: list[str] = []
    for _ in range(12):
        process = start(path, 3, 0, *(f"question {number} " + "word " * 200 for number in range(200)))
        wait_for(process, "held")
        time.sleep(dice.random() * 0.5)
        kill(process)
        now = [message["content"] for message in read(path)] if path.exists() else []
        assert now[: len(before)] == before or now[: len(before) - 1] == before[:-1]
        assert len(now) >= len(before)
        before = now
    assert len(before) > 20
    kill(start(path, 1, 0))
    with sessions.open_session(str(path)) as session:
        session.save(session.saved)
    assert [file.name for file in tmp_path.iterdir()] == ["talk.json"], "nothing half-made is left"


def test_two_processes_at_once(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    first = start(path, 100, 0.05, "tell me a tale")
    wait_for(first, "held")
    second = start(path, 1, 0, "me too")
    told, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert told.strip() == f"the session `talk` is open in another localllm, process {first.pid}"
    with pytest.raises(SessionError, match=f"process {first.pid}") as caught:
        sessions.open_session(str(path))
    assert "--session" in (caught.value.hint or "")
    kill(first)
    third = start(path, 1, 0, "now?")
    third.communicate(timeout=60)
    assert third.returncode == 0, "the lock goes with its process"
    assert read(path)[-2]["content"] == "now?"


def test_many_begin_at_once_and_each_has_its_own_file() -> None:
    crowd = [start("new", 2, 0.01, "What is the capital of France?") for _ in range(6)]
    told = [process.communicate(timeout=60)[0] for process in crowd]
    assert {process.returncode for process in crowd} == {0}, told
    files = sessions.session_files()
    assert len(files) == 6
    assert all("capital of france" in file.name for file in files)
    assert all(len(read(file)) == 2 for file in files)


def test_a_terminated_process_has_saved_what_was_said(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    process = start(path, 100, 0.02, "tell me a tale")
    wait_for(process, "word5")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert len(read(path)[1]["content"].split()) >= 5


def test_on_a_full_disk_the_chat_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    limit = ("prlimit", "--fsize=2000")
    questions = [f"question {number} " + "word " * 60 for number in range(12)]
    process = start(path, 10, 0, *questions, prefix=limit)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert told.count("word9\n") == 12, "every question was answered"
    lines = [line for line in told.splitlines() if line.startswith("notice:")]
    assert "no space left" in lines[0]
    assert "end of this conversation is not saved" in lines[-1]
    assert len([line for line in lines if "is not saved: no space" in line and "end of" not in line]) == 1
    saved = read(path)
    assert [m["content"] for m in saved if m["role"] == "user"] == questions[: (len(saved) + 1) // 2]
    assert 0 < len(saved) < 24
    assert [file.name for file in tmp_path.iterdir()] == ["talk.json"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="mounting a tiny disk needs root")
def test_on_a_disk_that_is_really_full_and_then_has_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("cannot mount a tmpfs")
    try:
        path, filler = disk / "talk.json", disk / "filler"
        process = start(path, 2, 0, "hello")
        process.communicate(timeout=60)
        before = path.read_bytes()
        filler.write_bytes(b"x" * (64 * 1024 - 2 * 4096))
        process = start(path, 40, 0.05, "word " * 2000, "word " * 2000)
        wait_for(process, "word39")
        assert path.read_bytes() == before, "the last whole state stays"
        filler.unlink()
        told, _ = process.communicate(timeout=60)
        assert "notice: the conversation is saved again" in told
        assert len(read(path)) == 6
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="mounting a read-only disk needs root")
def test_on_a_read_only_disk_the_chat_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=False).returncode:
        pytest.skip("cannot mount a tmpfs")
    try:
        path = disk / "talk.json"
        start(path, 2, 0, "hello").communicate(timeout=60)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        process = start(path, 2, 0, "again", "and again")
        told, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        lines = [line for line in told.splitlines() if line.startswith("notice:")]
        assert len(lines) == 2, lines
        assert "Read-only file system" in lines[0]
        assert len(read(path)) == 2
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
