"""All sessions together: listed, found by a part of the name, searched, removed, exported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from localllm import sessions
from localllm.control_filter import clean
from localllm.conversation import Message, Role
from localllm.errors import NotFoundError, SessionError, UsageError
from localllm.events import Event, Notice
from localllm.sessions import ExportFormat, Saved
from localllm.verbs import sessions as verbs


def make(name: str, *contents: str, age: int = 0, system: str | None = None) -> Path:
    roles = [Role.USER, Role.ASSISTANT] * len(contents)
    turns = tuple(Message(role, text) for role, text in zip(roles, contents, strict=False))
    with sessions.open_session(name) as session:
        session.save(Saved(model="demo", turns=turns, system=system))
    path = sessions.session_path(name)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_the_latest_is_listed_first_and_damaged_ones_are_told() -> None:
    make("old", "Hi", "Hello", age=9)
    make("new", "What is  GGUF?", age=1)
    make("broken", age=5).write_text("{")
    os.utime(sessions.session_path("broken"), (999_995, 999_995))
    (sessions.sessions_directory() / "notes.txt").write_text("not a session")
    listed = verbs.list_sessions()
    assert [(entry.name, entry.messages, entry.first_words) for entry in listed] == [
        ("new", 1, "What is GGUF?"),
        ("broken", 0, ""),
        ("old", 2, "Hi"),
    ]
    assert listed[1].problem is not None
    assert "is not a saved conversation" in listed[1].problem


def test_without_a_directory_there_are_none() -> None:
    assert verbs.list_sessions() == []


def test_a_part_that_only_one_name_has_is_enough() -> None:
    make("2026-11-25 14.03 capital of france", "Paris?")
    make("capital of spain", "Madrid?")
    assert verbs.show_session("France").name == "2026-11-25 14.03 capital of france"
    assert verbs.show_session("capital of spain").name == "capital of spain"
    with pytest.raises(UsageError, match="`capital` is in several names") as caught:
        verbs.show_session("capital")
    assert "`capital of spain`" in (caught.value.hint or "")
    with pytest.raises(NotFoundError, match="no session `capitl of spain`") as missing:
        verbs.show_session("capitl of spain")
    assert missing.value.hint == "did you mean `capital of spain`?"


def test_search_finds_in_any_case_with_what_is_around() -> None:
    make("a", "I like the colour TURQUOISE very much " + "and so on " * 20, "Fine", age=1)
    make("b", "nothing", "is Turquoise", age=2, system="turquoise?")
    make("c", "x", age=3).write_text("{")
    events = list[Event]()
    found = verbs.search_sessions("turquoise", emit=events.append)
    assert [(match.session, match.message, match.role, match.match) for match in found] == [
        ("a", 1, "user", "TURQUOISE"),
        ("b", 1, "system", "turquoise"),
        ("b", 3, "assistant", "Turquoise"),
    ]
    assert found[0].before == "I like the colour "
    assert found[0].after.endswith("…")
    assert [event.message.split(":")[0] for event in events if isinstance(event, Notice)] == ["not searched"]
    assert verbs.search_sessions("[a-z") == []
    with pytest.raises(UsageError, match="nothing to search for"):
        verbs.search_sessions(" ")


def test_nothing_is_removed_unless_all_are_there() -> None:
    make("a", "x")
    make("b", "x").write_text("damaged")
    with pytest.raises(NotFoundError):
        verbs.remove_sessions(["a", "c"])
    assert len(sessions.session_files()) == 2
    assert verbs.remove_sessions(["a", "b", "a"]) == ["a", "b"]
    assert sessions.session_files() == []


def test_an_open_session_is_neither_removed_nor_renamed() -> None:
    make("a", "x")
    with sessions.open_session("a"):
        with pytest.raises(SessionError, match="is open in another localllm"):
            verbs.remove_sessions(["a"])
        with pytest.raises(SessionError, match="is open in another localllm"):
            verbs.rename_session("a", "b")
    assert verbs.rename_session("a", "b") == "b"
    assert [path.name for path in sessions.session_files()] == ["b.json"]


# export -------------------------------------------------------------------------------------


def test_markdown_is_for_people() -> None:
    make("a", "Hi", "Hello\n\nthere\n", system="Be brief")
    text = verbs.export_sessions(["a"]).text
    heading, about, rest = text.split("\n\n", 2)
    assert heading == "# a"
    assert about.startswith("*demo, 20")
    assert rest == "## System\n\nBe brief\n\n## User\n\nHi\n\n## Assistant\n\nHello\n\nthere\n"


def test_json_is_as_it_is_saved() -> None:
    path = make("a", "Hi", "Hello")
    make("b", "Ho")
    assert verbs.export_sessions(["a"], ExportFormat.JSON).text == path.read_text()
    both = json.loads(verbs.export_sessions(["a", "b"], ExportFormat.JSON).text)
    assert [len(each["messages"]) for each in both] == [2, 1]


def test_json_lines_are_to_learn_from() -> None:
    make("a", "Hi", "Hello", "and?", system="Be brief", age=1)
    make("b", "never answered", age=2)
    events = list[Event]()
    result = verbs.export_sessions((), ExportFormat.JSONL, everything=True, emit=events.append)
    assert [json.loads(line) for line in result.text.splitlines()] == [
        {
            "messages": [
                {"role": "system", "content": "Be brief"},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"},
            ]
        }
    ]
    assert result.names == ("a",)
    assert len(events) == 1


def test_nothing_in_json_steers_a_terminal_or_is_lost() -> None:
    make("a", "\x1b[2J \x9b \u202e", "Hello")
    for form in (ExportFormat.JSON, ExportFormat.JSONL):
        text = verbs.export_sessions(["a"], form).text
        assert clean(text) == text
        assert json.loads(text)["messages"][0]["content"] == "\x1b[2J \x9b \u202e"


def test_an_export_overwrites_nothing_by_chance(tmp_path: Path) -> None:
    make("a", "Hi", "Hello")
    target = tmp_path / "a.md"
    target.write_text("mine")
    with pytest.raises(UsageError, match="exists") as caught:
        verbs.export_sessions(["a"], output=target)
    assert "--force" in (caught.value.hint or "")
    assert target.read_text() == "mine"
    verbs.export_sessions(["a"], output=target, force=True)
    assert target.read_text().startswith("# a\n")


def test_names_or_all_of_them() -> None:
    for arguments in ({"names": ["a"], "everything": True}, {}):
        with pytest.raises(UsageError, match="name the sessions"):
            verbs.export_sessions(**arguments)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no format `pdf`"):
        verbs.parse_format("pdf")
    assert verbs.parse_format("JSONL") is ExportFormat.JSONL


def test_a_session_is_not_exported_over_itself() -> None:
    path = make("a", "Hi", "Hello")
    with pytest.raises(UsageError):
        verbs.export_sessions(["a"], output=path, force=True)
    assert path.read_text().startswith("{")
