"""`localllm sessions`: what is printed, asked and answered."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from localllm import sessions, states
from localllm.cli.commands.sessions import complete_session
from localllm.conversation import Message, Role
from localllm.sessions import Saved
from tests.cli.process import COMMAND, environment, localllm

TIME = "2026-11-25T14:03:00+00:00"


def make(name: str, question: str = "What is GGUF?", answer: str = "A file format.") -> str:
    turns = (
        Message(Role.USER, question, TIME),
        Message(Role.ASSISTANT, answer, TIME, "demo:Q8_0", finish_reason="length"),
    )
    with sessions.open_session(name) as session:
        session.save(Saved(model="demo:Q8_0", turns=turns, system="Be brief", created=TIME))
        return session.saved.id


def test_list() -> None:
    make("first talk")
    result = localllm("sessions", "list")
    assert result.returncode == 0, result.stderr
    heading, row = result.stdout.splitlines()
    assert heading.split() == ["name", "messages", "last", "model", "begins", "with"]
    assert row.split() == ["first", "talk", "2", "just", "now", "demo:Q8_0", "What", "is", "GGUF?"]
    data = json.loads(localllm("sessions", "list", "--json").stdout)
    assert (data["schema"], data["command"]) == (1, "sessions list")
    (entry,) = data["data"]["sessions"]
    assert (entry["name"], entry["messages"], entry["model"]) == ("first talk", 2, "demo:Q8_0")
    assert Path(entry["path"]).is_file()


def test_list_without_any() -> None:
    result = localllm("sessions", "list")
    assert (result.returncode, result.stdout) == (0, "")
    assert "no conversation is saved yet" in result.stderr
    assert json.loads(localllm("sessions", "list", "--json").stdout)["data"] == {"sessions": []}


def test_show() -> None:
    make("talk", answer="A file \x1b]52;c;eA==\x07format.")
    result = localllm(
        "sessions",
        "show",
        "tal",
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "talk"
    assert "  model     demo:Q8_0" in lines
    assert lines[lines.index("[system]") + 1] == "Be brief"
    assert lines[-1] == "A file format.", "nothing that steers the terminal"
    assert lines[-2].startswith("[demo:Q8_0, 2026-11-2")
    assert lines[-2].endswith(", cut off]")
    data = json.loads(localllm("sessions", "show", "talk", "--json").stdout)["data"]
    assert [message["role"] for message in data["messages"]] == ["system", "user", "assistant"]
    assert data["name"] == "talk"


def test_show_what_is_not_there() -> None:
    make("talk")
    result = localllm("sessions", "show", "tlak", "--json")
    assert result.returncode == 1
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["hint"]) == ("not-found", "did you mean `talk`?")


def test_search() -> None:
    make("one", answer="Format of\nllama.cpp")
    make("two", answer="nothing")
    result = localllm("sessions", "search", "FORMAT")
    assert result.stdout.splitlines() == ["one: assistant (message 3): Format of llama.cpp"]
    (match,) = json.loads(localllm("sessions", "search", "format", "--json").stdout)["data"]["matches"]
    assert (match["session"], match["message"], match["match"]) == ("one", 3, "Format")
    assert "nobody said" in localllm("sessions", "search", "pelican").stderr


def test_rename() -> None:
    make("one")
    assert localllm("sessions", "rename", "one", "two").returncode == 0
    assert [path.name for path in sessions.session_files()] == ["two.json"]
    make("one")
    taken = localllm("sessions", "rename", "one", "two")
    assert (taken.returncode, "already" in taken.stderr) == (2, True)
    odd = localllm("sessions", "rename", "one", "a:b")
    assert (odd.returncode, "cannot be a session's name" in odd.stderr) == (2, True)


def test_rm_asks_first() -> None:
    make("one")
    refused = localllm("sessions", "rm", "one")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert len(sessions.session_files()) == 1


def test_rm_removes_what_was_read_too() -> None:
    state = states.states_directory() / f"{make('one')}.state"
    state.parent.mkdir(parents=True)
    state.write_text("x")
    make("two")
    result = localllm("sessions", "rm", "one", "--yes")
    assert (result.returncode, result.stdout) == (0, "removed one\n")
    assert [path.name for path in sessions.session_files()] == ["two.json"]
    assert not state.exists()
    assert localllm("sessions", "rm", "three", "--yes").returncode == 1
    assert localllm("sessions", "rm").returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
@pytest.mark.parametrize(("reply", "left", "status"), [("y", 0, 0), ("n", 1, 1)])
def test_rm_on_a_terminal(reply: str, left: int, status: int) -> None:
    pexpect = pytest.importorskip("pexpect")
    make("one")
    child = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], "sessions", "rm", "one"], env=environment(), encoding="utf-8", timeout=60
    )
    child.expect("one  2 messages  What is GGUF")
    child.expect("Remove this")
    child.sendline(reply)
    child.expect(pexpect.EOF)
    child.close()
    assert (len(sessions.session_files()), child.exitstatus) == (left, status)


def test_export(tmp_path: Path) -> None:
    make("one")
    make("two", question="And LoRA?")
    assert localllm("sessions", "export", "one").stdout.startswith("# one\n\n*demo:Q8_0, ")
    target = tmp_path / "training.jsonl"
    result = localllm("sessions", "export", "--all", "--format", "jsonl", "-o", target)
    assert (result.returncode, result.stdout) == (0, "")
    assert f"wrote 2 conversations to {target}" in result.stderr
    lines = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert sorted(line["messages"][1]["content"] for line in lines) == ["And LoRA?", "What is GGUF?"]
    assert all(set(message) == {"role", "content"} for line in lines for message in line["messages"])
    assert localllm("sessions", "export", "one", "-o", target).returncode == 2
    data = json.loads(localllm("sessions", "export", "one", "--format", "jsonl", "--json").stdout)["data"]
    assert (data["format"], data["sessions"], data["path"]) == ("jsonl", ["one"], None)
    assert json.loads(data["text"])["messages"][2]["content"] == "A file format."


def test_wrong_use_is_told_in_a_line() -> None:
    for arguments in (
        ("export",),
        ("export", "x", "--all"),
        ("search", " "),
        ("export", "x", "--format", "pdf"),
    ):
        result = localllm("sessions", *arguments)
        assert result.returncode == 2, arguments
        assert result.stderr.startswith("error: ")
    assert localllm("sessions", "--help").stdout.count("\n") > 8


def test_a_damaged_session_can_be_seen_and_removed() -> None:
    make("one")
    sessions.session_path("one").write_text("{")
    assert "damaged" in localllm("sessions", "list").stdout
    shown = localllm("sessions", "show", "one")
    assert (shown.returncode, "is not a saved conversation" in shown.stderr) == (1, True)
    assert localllm("sessions", "rm", "one", "--yes").returncode == 0


def test_names_are_completed() -> None:
    make("2026-11-25 14.03 capital of france")
    make("work")
    assert complete_session("2026") == ["2026-11-25 14.03 capital of france"]
    assert complete_session("W") == ["work"]
