"""A chat keeps all that was said, saves it as it goes, and goes on when it cannot save."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localllm import sessions
from localllm.chatting import Chat
from localllm.conversation import Message, Overflow, Role
from localllm.engine import Chunk, FinishReason, SamplingOptions
from localllm.engine.base import Messages
from localllm.engine.scripted import ScriptedEngine
from localllm.errors import GenerationError, SessionError, UsageError
from localllm.events import Event, Notice


class BrokenEngine(ScriptedEngine):
    """Breaks down after two words."""

    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        yield from list(super().stream(messages, options))[:2]
        raise GenerationError("the graphics card has left")


class Listener(list[Event]):
    """Keeps events; `topics` are those of the notices."""

    @property
    def topics(self) -> list[str]:
        return [event.topic for event in self if isinstance(event, Notice)]


def said(chunks: Iterator[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if chunk.index == 0)


def a_chat(answers: list[str], path: Path | None = None, **options: Any) -> Chat:
    engine = options.pop("engine", None) or ScriptedEngine(answers)
    memory = None if path is None else sessions.open_session(str(path))
    return Chat(engine, model=options.pop("model", "m"), memory=memory, **options)


def contents(path: Path) -> list[str]:
    return [message["content"] for message in messages(path)]


def messages(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["messages"]
    return found


def wait_for(is_true: Callable[[], bool]) -> None:
    """Wait until something written in passing is there."""
    for _ in range(500):
        if is_true():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come true")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "talk.json"


# remembering --------------------------------------------------------------------------------


def test_the_model_sees_the_whole_conversation() -> None:
    engine = ScriptedEngine(["Hello Ada", "Ada"])
    chat = a_chat([], engine=engine, system="Be brief")
    assert [said(chat.ask("I am Ada")), said(chat.ask("Who am I?"))] == ["Hello Ada", "Ada"]
    assert [m["content"] for m in engine.seen[1]] == ["Be brief", "I am Ada", "Hello Ada", "Who am I?"]
    assert [m.content for m in chat.messages] == ["Be brief", "I am Ada", "Hello Ada", "Who am I?", "Ada"]
    assert chat.messages == chat.seen()


def test_the_question_is_saved_before_the_answer_begins(path: Path) -> None:
    chat = a_chat(["one two three"], path)
    answer = chat.ask("count")
    next(answer)
    assert contents(path) == ["count"]
    list(answer)
    assert contents(path) == ["count", "one two three"]


def test_an_answer_is_saved_while_it_is_given(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    chat = a_chat(["one two three four"], path)
    answer = chat.ask("count")
    next(answer)
    clock[0] += 2
    next(answer)
    wait_for(lambda: contents(path) == ["count", "one two"])
    assert messages(path)[1]["finish_reason"] == "interrupted"
    next(answer)
    assert contents(path) == ["count", "one two"], "not with every word"
    list(answer)
    assert contents(path) == ["count", "one two three four"]
    assert messages(path)[1]["finish_reason"] == "stop"


def test_a_session_goes_on_where_it_ended(path: Path) -> None:
    with a_chat(["Hi"], path, system="old") as chat:
        said(chat.ask("I am Ada"))
    engine = ScriptedEngine(["Ada"])
    with a_chat([], path, engine=engine, system="new") as chat:
        assert chat.resumed == 2
        said(chat.ask("Who am I?"))
    assert [m["content"] for m in engine.seen[0]] == ["new", "I am Ada", "Hi", "Who am I?"]
    assert contents(path) == ["new", "I am Ada", "Hi", "Who am I?", "Ada"]


def test_a_saved_system_prompt_stays_unless_another_is_given(path: Path) -> None:
    with a_chat(["Hi"], path, system="old", persona="someone") as chat:
        said(chat.ask("I am Ada"))
    with a_chat(["Hi"], path) as chat:
        assert (chat.system, chat.persona) == ("old", "someone")
        chat.set_system(None)
    with a_chat(["Hi"], path) as chat:
        assert (chat.system, chat.persona) == (None, None)
    assert contents(path) == ["I am Ada", "Hi"]


def test_every_message_has_its_time_and_every_answer_its_model(path: Path) -> None:
    chat = a_chat(["Hi"], path, model="demo:Q8_0")
    said(chat.ask("Hello"))
    question, answer = messages(path)
    assert question["created"] <= answer["created"]
    assert answer["model"] == "demo:Q8_0"
    assert "model" not in question


def test_what_was_said_before_a_failure_is_kept(path: Path) -> None:
    chat = a_chat([], path, engine=BrokenEngine(["one two three"]))
    with pytest.raises(GenerationError, match="has left"):
        said(chat.ask("count"))
    assert contents(path) == ["count", "one two"]


def test_what_was_said_before_the_iterator_was_closed_is_kept(path: Path) -> None:
    chat = a_chat(["one two three"], path)
    answer = chat.ask("count")
    assert isinstance(answer, Iterator)
    next(answer)
    answer.close()  # type: ignore[attr-defined]
    assert contents(path) == ["count", "one"]
    assert messages(path)[1]["finish_reason"] == "interrupted"


def test_an_answer_that_never_began_is_forgotten_with_its_question(path: Path) -> None:
    events = Listener()
    chat = a_chat([""], path, emit=events.append)
    said(chat.ask("anybody there?"))
    assert chat.messages == []
    assert contents(path) == []
    assert events.topics == ["empty"]


def test_a_message_that_cannot_be_answered_is_not_kept(path: Path) -> None:
    chat = a_chat([], path, engine=ScriptedEngine(["Hi"], context_size=8))
    said(chat.ask("hello"))
    with pytest.raises(GenerationError, match="takes 9 tokens"):
        said(chat.ask("one two three four five six seven eight nine"))
    assert contents(path) == ["hello", "Hi"]
    said(chat.ask("again"))
    assert contents(path) == ["hello", "Hi", "again", "Hi"]


def test_bytes_that_are_no_text_do_not_stop_the_chat(path: Path) -> None:
    chat = a_chat(["Yes"], path)
    said(chat.ask("caf\udcff?"))
    assert contents(path) == ["caf\ufffd?", "Yes"]


def test_an_empty_message_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="empty"):
        a_chat(["x"]).ask("  ")


def test_reasoning_is_kept_and_never_shown_to_the_model_again(path: Path) -> None:
    engine = ScriptedEngine(["<think> she greets </think> Hello", "Ada"])
    chat = a_chat([], path, engine=engine)
    said(chat.ask("I am Ada"))
    said(chat.ask("Who am I?"))
    assert [m["content"] for m in engine.seen[1]] == ["I am Ada", "Hello", "Who am I?"]
    assert messages(path)[1]["reasoning"] == "she greets"
    chat.close()
    assert sessions.read_saved(path).turns[1].reasoning == "she greets"


def test_reasoning_that_the_prompt_began_is_told_also_when_it_is_cut(path: Path) -> None:
    engine = ScriptedEngine(["she greets and"], opens_reasoning=True)
    chat = a_chat([], path, engine=engine)
    said(chat.ask("I am Ada"))
    assert messages(path)[1]["reasoning"] == "she greets and"
    assert [m.content for m in chat.seen()] == ["I am Ada"]


def test_of_several_answers_the_first_counts_and_the_others_are_kept(path: Path) -> None:
    chat = a_chat(["one", "two", "three"], path, options=SamplingOptions(n=3))
    assert {chunk.index for chunk in chat.ask("count")} == {0, 1, 2}
    assert chat.messages[-1].content == "one"
    assert [run[0]["content"] for run in messages(path)[1]["alternatives"]] == ["two", "three"]


def test_a_question_that_a_killed_process_left_is_joined_to_the_next(path: Path) -> None:
    sessions.open_session(str(path)).save(sessions.Saved(turns=(Message(Role.USER, "left"),)))
    engine = ScriptedEngine(["Hi"])
    chat = a_chat([], path, engine=engine)
    said(chat.ask("more"))
    assert [m["content"] for m in engine.seen[0]] == ["left\n\nmore"]
    assert contents(path) == ["left", "more", "Hi"]


# taking back --------------------------------------------------------------------------------


def test_regenerating_keeps_the_old_answers(path: Path) -> None:
    engine = ScriptedEngine(["one", "two", "three"])
    chat = a_chat([], path, engine=engine)
    said(chat.ask("count"))
    assert said(chat.regenerate()) == "two"
    assert said(chat.regenerate()) == "three"
    assert [m["content"] for m in engine.seen[2]] == ["count"]
    assert contents(path) == ["count", "three"]
    runs = messages(path)[1]["alternatives"]
    assert [[each["content"] for each in run] for run in runs] == [["one"], ["two"]]
    assert not any("alternatives" in each for run in runs for each in run)


def test_an_old_answer_stays_when_there_is_no_new_one(path: Path) -> None:
    chat = a_chat(["one", ""], path)
    said(chat.ask("count"))
    said(chat.regenerate())
    assert contents(path) == ["count", "one"]


def test_the_old_answer_stays_in_the_file_until_there_is_a_new_one(path: Path) -> None:
    chat = a_chat(["one", "two and three"], path)
    said(chat.ask("count"))
    answer = chat.regenerate()
    next(answer)
    assert contents(path) == ["count", "one"]
    list(answer)
    assert contents(path) == ["count", "two and three"]


def test_a_question_that_was_never_answered_can_be_answered(path: Path) -> None:
    sessions.open_session(str(path)).save(sessions.Saved(turns=(Message(Role.USER, "left"),)))
    chat = a_chat(["Hi"], path)
    said(chat.regenerate())
    assert contents(path) == ["left", "Hi"]
    assert "alternatives" not in messages(path)[1]


def test_editing_replaces_the_last_question(path: Path) -> None:
    engine = ScriptedEngine(["one", "two", "three"])
    chat = a_chat([], path, engine=engine)
    said(chat.ask("a"))
    said(chat.ask("b"))
    assert said(chat.edit("c")) == "three"
    assert [m["content"] for m in engine.seen[2]] == ["a", "one", "c"]
    assert contents(path) == ["a", "one", "c", "three"]
    assert [[e["content"] for e in run] for run in messages(path)[2]["alternatives"]] == [["b", "two"]]
    chat.close()
    assert [m.content for m in sessions.read_saved(path).turns[2].alternatives[0]] == ["b", "two"]


def test_undo_takes_question_and_answer_back(path: Path) -> None:
    chat = a_chat(["one", "two"], path)
    said(chat.ask("a"))
    said(chat.ask("b"))
    question = chat.undo()
    assert question is not None
    assert question.content == "b"
    assert contents(path) == ["a", "one"]
    assert chat.undo() is not None
    assert chat.undo() is None
    assert contents(path) == []


@pytest.mark.parametrize("what", ["regenerate", "edit"])
def test_without_a_question_there_is_nothing_to_change(what: str) -> None:
    chat = a_chat(["x"])
    with pytest.raises(UsageError, match="nothing was asked yet"):
        chat.regenerate() if what == "regenerate" else chat.edit("x")


# settings -----------------------------------------------------------------------------------


def test_options_are_remembered_and_given_ones_go_first(path: Path) -> None:
    with a_chat(["Hi"], path, options=SamplingOptions(temperature=0.1, top_k=5)) as chat:
        said(chat.ask("hello"))
        chat.set_options(chat.options.changed(stop=("x",)))
    with a_chat(["Hi"], path, options=SamplingOptions(temperature=1.5)) as chat:
        assert chat.options == SamplingOptions(temperature=1.5, top_k=5, stop=("x",))
        said(chat.ask("hello"))
    with a_chat(["Hi"], path) as chat:
        assert chat.options == SamplingOptions(temperature=1.5, top_k=5, stop=("x",))


def test_a_schema_takes_the_place_of_a_remembered_grammar(path: Path) -> None:
    with a_chat(["Hi"], path, options=SamplingOptions(grammar='root ::= "x"')) as chat:
        said(chat.ask("hello"))
    with a_chat(["Hi"], path, options=SamplingOptions(json_schema="{}")) as chat:
        assert (chat.options.grammar, chat.options.json_schema) == (None, "{}")


def test_options_of_another_version_are_told_and_not_used(path: Path) -> None:
    with sessions.open_session(str(path)) as session:
        session.save(sessions.Saved(options={"warmth": 3}))
    events = Listener()
    chat = a_chat(["Hi"], path, emit=events.append)
    assert chat.options == SamplingOptions()
    assert events.topics == ["options"]


def test_switching_engines_goes_on_with_the_same_conversation(path: Path) -> None:
    chat = a_chat(["one"], path)
    said(chat.ask("a"))
    other = ScriptedEngine(["two"], name="other")
    chat.switch(other, "m:Q2_K")
    said(chat.ask("b"))
    assert [m["content"] for m in other.seen[0]] == ["a", "one", "b"]
    assert [m.get("model") for m in messages(path)] == [None, "m", None, "m:Q2_K"]
    assert json.loads(path.read_text())["model"] == "m:Q2_K"


def test_usage_counts_what_the_model_is_shown() -> None:
    chat = a_chat(["two words"], system="be brief")
    assert (chat.usage().tokens, chat.usage().context_size) == (2, 4096)
    said(chat.ask("one"))
    assert chat.usage().tokens == 5
    assert chat.last_statistics is not None
    assert chat.last_statistics.completion_tokens == 2


# sessions -----------------------------------------------------------------------------------


def test_clear_begins_another_session_and_leaves_the_old_one() -> None:
    chat = Chat(ScriptedEngine(["Hi"]), model="m", memory=sessions.begin("m"), system="s")
    assert chat.name is None
    said(chat.ask("What is the capital of France?"))
    first = chat.name
    assert first is not None
    assert first.endswith(" capital of france")
    chat.clear()
    assert (chat.messages, chat.name) == ([Message(Role.SYSTEM, "s")], None)
    said(chat.ask("Something else"))
    assert chat.name not in (None, first)
    assert len(sessions.session_files()) == 2
    chat.close()


def test_resuming_another_session_takes_it_up_whole(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    with a_chat(["Hi"], other, system="s", options=SamplingOptions(top_k=3)) as chat:
        said(chat.ask("a"))
    chat = a_chat(["Ho"], path)
    said(chat.ask("b"))
    chat.resume(sessions.open_session(str(other)))
    assert [m.content for m in chat.messages] == ["s", "a", "Hi"]
    assert (chat.resumed, chat.options.top_k) == (2, 3)
    with sessions.open_session(str(path)):
        pass  # let go of


def test_renaming_moves_the_file_and_names_what_was_not_saved(path: Path, tmp_path: Path) -> None:
    chat = a_chat(["Hi"])
    said(chat.ask("a"))
    assert (chat.name, chat.is_saved) == (None, False)
    chat.rename("work")
    assert chat.name == "work"
    assert contents(sessions.session_path("work")) == ["a", "Hi"]
    chat.rename("play")
    said(chat.ask("b"))
    assert [file.name for file in sessions.session_files()] == ["play.json"]
    chat.close()
    with pytest.raises(UsageError, match="already"):
        a_chat(["Hi"]).rename("play")


def test_nothing_is_written_without_memory(pinned_environment: Path) -> None:
    with a_chat(["Hi"]) as chat:
        said(chat.ask("a"))
        chat.clear()
        assert chat.messages == []
    assert not list(pinned_environment.rglob("*"))


def test_a_full_disk_is_told_once_and_saving_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, is_full = Listener(), [True]
    write = Path.write_text

    def limited(self: Path, *arguments: Any, **options: Any) -> int:
        if is_full[0]:
            raise OSError(28, os.strerror(28))
        return write(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", limited)
    chat = a_chat(["Hi", "Ho"], path, emit=events.append)
    assert said(chat.ask("a")) == "Hi"
    assert said(chat.ask("b")) == "Ho"
    assert events.topics == ["unsaved"]
    assert not path.exists()
    is_full[0] = False
    said(chat.ask("c"))
    assert events.topics == ["unsaved", "saved"]
    assert contents(path) == ["a", "Hi", "b", "Ho", "c", "Hi"]
    chat.close()
    assert [file.name for file in path.parent.iterdir()] == ["talk.json"]


def test_what_was_never_saved_is_told_at_the_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = Listener()
    chat = a_chat(["Hi"], path, emit=events.append)
    said(chat.ask("a"))

    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_text", full)
    said(chat.ask("b"))
    chat.close()
    assert events.topics == ["unsaved", "unsaved"]
    assert contents(path) == ["a", "Hi"]


def test_a_file_that_another_program_changed_is_left_to_it(path: Path) -> None:
    events = Listener()
    chat = a_chat(["Hi"], path, emit=events.append)
    said(chat.ask("a"))
    path.write_text("mine now")
    said(chat.ask("b"))
    assert path.read_text() == "mine now"
    assert contents(path.with_name("talk 2.json")) == ["a", "Hi", "b", "Hi"]
    assert events.topics == ["forked"]
    said(chat.ask("c"))
    assert len(contents(path.with_name("talk 2.json"))) == 6


def test_a_damaged_session_is_not_begun_anew(path: Path) -> None:
    path.write_text("{")
    with pytest.raises(SessionError, match="not a saved conversation"):
        a_chat(["Hi"], path)
    assert path.read_text() == "{"


def test_an_interrupted_answer_says_so(path: Path) -> None:
    engine = ScriptedEngine(["one two three"])
    chat = a_chat([], path, engine=engine)
    chunks = []
    for chunk in chat.ask("count"):
        chunks.append(chunk)
        engine.interrupt()
    assert chunks[-1].finish_reason is FinishReason.INTERRUPTED
    assert messages(path)[1]["finish_reason"] == "interrupted"
    assert len(contents(path)) == 2


def test_the_policy_is_asked_for_by_name() -> None:
    assert [policy.value for policy in Overflow] == ["compact", "drop", "stop"]
