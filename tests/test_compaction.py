"""A conversation longer than the context: summarised or left out, told each time, and all of it kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm import sessions
from localllm.chatting import Chat
from localllm.compaction.room import needed_context, prompt_room
from localllm.compaction.summary import REQUEST
from localllm.conversation import SUMMARY_LEAD, Overflow, Role
from localllm.engine import Chunk, SamplingOptions
from localllm.engine.base import Messages
from localllm.engine.scripted import ScriptedEngine
from localllm.errors import GenerationError
from localllm.events import Event, Notice

REQUEST_END = REQUEST.partition("}")[2]
SYSTEM = "You are Marvin"


class Storyteller(ScriptedEngine):
    """Answers with a numbered tale, and with `summary` when it is asked for one."""

    def __init__(
        self, *, context_size: int, words: int = 6, summary: str = "They talked.", **more: Any
    ) -> None:
        super().__init__([""], context_size=context_size, **more)
        self.summaries = 0
        self.prompts: list[list[dict[str, str]]] = []
        self._words = words
        self._summary = summary

    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        if wants_summary(messages):
            self.summaries += 1
            self._answers = [self._summary.replace("#", str(self.summaries))]
        else:
            self.prompts.append([dict(message) for message in messages])
            self._answers = [f"tale{len(self.prompts)}" + " word" * (self._words - 1)]
        return super().stream(messages, options)


def wants_summary(messages: Messages) -> bool:
    return str(messages[-1]["content"]).endswith(REQUEST_END)


def talk(chat: Chat, *questions: str) -> None:
    for question in questions:
        for _ in chat.ask(question):
            pass


def questions(count: int, words: int = 6) -> list[str]:
    return [f"question{number}" + " word" * (words - 1) for number in range(1, count + 1)]


def notices(events: Sequence[Event], topic: str) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice) and event.topic == topic]


def words(messages: Messages) -> int:
    return sum(len(str(message["content"]).split()) for message in messages)


def contents(messages: Messages) -> list[str]:
    return [str(message["content"]) for message in messages]


# compact ------------------------------------------------------------------------------------


def test_three_times_the_context(tmp_path: Path) -> None:
    path, events = tmp_path / "talk.json", list[Event]()
    engine = Storyteller(context_size=200, summary="Summary # of the tales.")
    memory = sessions.open_session(str(path))
    asked = questions(50)
    with Chat(engine, model="m", memory=memory, system=SYSTEM, emit=events.append) as chat:
        talk(chat, *asked)

    for number, prompt in enumerate(engine.prompts):
        assert words(prompt) <= 150, "a quarter is for the answer"
        assert prompt[0] == {"role": "system", "content": SYSTEM}
        assert prompt[-1] == {"role": "user", "content": asked[number]}
        if number:
            assert prompt[-2]["content"].startswith(f"tale{number} "), "recent turns stay as they were"
        roles = [message["role"] for message in prompt[1:]]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]

    saved = json.loads(path.read_text(encoding="utf-8"))
    everything = [
        text for number, text in enumerate(asked, 1) for text in (text, f"tale{number}" + " word" * 5)
    ]
    assert contents(saved["messages"]) == [SYSTEM, *everything]
    assert sum(len(text.split()) for text in everything) >= 3 * engine.context_size
    compactions = saved["compactions"]
    assert len(compactions) == engine.summaries >= 3
    assert len(notices(events, "compacting")) == len(notices(events, "summary")) == len(compactions)
    for number, compaction in enumerate(compactions, 1):
        assert compaction["summary"] == f"Summary {number} of the tales."
        assert f"Summary {number} of the tales." in notices(events, "summary")[number - 1]
        first, last = compaction["covers"]
        assert first == 1, "behind the system message"
        assert saved["messages"][last]["role"] == "assistant"
        assert f"summary of the first {last} messages" in notices(events, "summary")[number - 1]
    lasts = [compaction["covers"][1] for compaction in compactions]
    assert lasts == sorted(set(lasts))


def test_it_is_told_before_the_summary_is_made() -> None:
    events = list[Event]()
    engine = Storyteller(context_size=200)

    def listen(event: Event) -> None:
        events.append(event)
        if notices([event], "compacting"):
            assert engine.summaries == 0

    talk(Chat(engine, model="m", emit=listen), *questions(14))
    assert engine.summaries == 1
    assert notices(events, "compacting") == [
        "the context of 200 tokens is full: summarising the first 20 messages"
    ]


def test_the_next_summary_goes_on_from_the_last() -> None:
    engine = Storyteller(context_size=200, summary="Summary #.")
    talk(Chat(engine, model="m", system=SYSTEM), *questions(40))
    requests = [seen for seen in engine.seen if wants_summary(seen)]
    assert len(requests) >= 3
    assert contents(requests[1])[1] == f"{SUMMARY_LEAD}\n\nSummary 1."
    assert all(options.temperature == 0 and options.max_tokens for options in asked_for(engine))


def asked_for(engine: Storyteller) -> list[SamplingOptions]:
    return [options for seen, options in zip(engine.seen, engine.asked, strict=True) if wants_summary(seen)]


def test_what_the_engine_has_just_read_is_not_read_again_for_the_summary() -> None:
    engine = Storyteller(context_size=400, words=8)
    chat = Chat(engine, model="m", system=SYSTEM)
    talk(chat, *questions(23, words=8))
    (request,) = [seen for seen in engine.seen if wants_summary(seen)]
    before = engine.seen[engine.seen.index(request) - 1]
    shared = len(request) - 1
    assert request[:shared] == before[:shared]


def test_a_resumed_conversation_uses_the_summary_it_has(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    with Chat(Storyteller(context_size=200), model="m", memory=sessions.open_session(str(path))) as chat:
        talk(chat, *questions(15))
        shown = chat.seen()
    engine, events = Storyteller(context_size=200), list[Event]()
    with Chat(engine, model="m", memory=sessions.open_session(str(path)), emit=events.append) as chat:
        assert chat.seen() == shown
        talk(chat, "and now")
    assert engine.summaries == 0
    assert engine.prompts[0][0]["content"].startswith(SUMMARY_LEAD)
    assert events == []


def test_a_larger_context_shows_everything_again(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    with Chat(Storyteller(context_size=200), model="m", memory=sessions.open_session(str(path))) as chat:
        talk(chat, *questions(15))
    engine = Storyteller(context_size=1000)
    with Chat(engine, model="m", memory=sessions.open_session(str(path))) as chat:
        talk(chat, "and now")
        assert len(engine.prompts[0]) == 31
        chat.switch(Storyteller(context_size=200), "small")
        talk(chat, "and then")
        assert chat.seen()[0].content.startswith(SUMMARY_LEAD)


def test_messages_that_were_taken_back_are_in_no_summary(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    chat = Chat(Storyteller(context_size=200), model="m", memory=sessions.open_session(str(path)))
    talk(chat, *questions(14))
    assert len(json.loads(path.read_text())["compactions"]) == 1
    for _ in range(12):
        chat.undo()
    saved = json.loads(path.read_text())
    assert "compactions" not in saved
    assert len(saved["messages"]) == 4
    assert [message.content for message in chat.seen()] == contents(saved["messages"])


def test_a_message_larger_than_the_context_is_refused() -> None:
    chat = Chat(Storyteller(context_size=64), model="m", system=SYSTEM)
    talk(chat, "hello")
    with pytest.raises(
        GenerationError, match=r"the message takes 103 tokens .* the context holds 64"
    ) as caught:
        talk(chat, "word " * 100)
    assert "--context" in (caught.value.hint or "")
    assert len(chat.messages) == 3


def test_a_message_that_takes_nearly_all_is_answered_alone() -> None:
    engine, events = Storyteller(context_size=64), list[Event]()
    chat = Chat(engine, model="m", system=SYSTEM, emit=events.append)
    talk(chat, "hello", "word " * 55)
    assert [message["role"] for message in engine.prompts[-1]] == ["system", "user"]
    assert len(notices(events, "dropped")) == 1
    talk(Chat(engine, model="m", emit=events.append), "word " * 55)
    assert len(notices(events, "dropped")) == 1, "nothing was left out"


def test_a_long_turn_is_summarised_without_its_middle() -> None:
    engine = Storyteller(context_size=400, words=6)
    chat = Chat(engine, model="m", overflow=Overflow.COMPACT)
    talk(chat, "begin " + "word " * 370 + " end", "next", *questions(3))
    request = next(seen for seen in engine.seen if wants_summary(seen))
    assert words(request) <= 400
    assert "begin" in request[-1]["content"]
    assert "end" in request[-1]["content"]
    assert "[…]" in request[-1]["content"]


# when there is no summary -------------------------------------------------------------------


class Failing(Storyteller):
    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        if wants_summary(messages):
            raise GenerationError("out of memory")
        return super().stream(messages, options)


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        (Failing(context_size=100), "out of memory"),
        (Storyteller(context_size=100, summary=""), "it is empty"),
        (Storyteller(context_size=100, summary="<think> hm </think> "), "it is empty"),
        (Storyteller(context_size=100, summary="on and " * 40), "it takes more than 32 tokens"),
    ],
)
def test_without_a_summary_the_oldest_turns_are_left_out(engine: Storyteller, reason: str) -> None:
    events = list[Event]()
    chat = Chat(engine, model="m", system=SYSTEM, emit=events.append)
    talk(chat, *questions(8))
    assert f"no summary could be made: {reason}" in notices(events, "compacting")
    assert notices(events, "dropped") == [
        "the context of 100 tokens is full: the model no longer sees the first 6 messages"
    ]
    assert len(chat.messages) == 17
    assert engine.prompts[-1][0]["content"] == SYSTEM


def test_of_a_summary_that_is_cut_the_whole_sentences_count() -> None:
    engine = Storyteller(context_size=100, summary="Ada came. " + "on and " * 40)
    chat = Chat(engine, model="m")
    talk(chat, *questions(8))
    assert chat.seen()[0].content == f"{SUMMARY_LEAD}\n\nAda came."


def test_stopping_the_summary_stops_the_answer() -> None:
    class Stopped(Storyteller):
        def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
            chunks = super().stream(messages, options)
            if wants_summary(messages):
                self.interrupt()
            return chunks

    engine = Stopped(context_size=100)
    chat = Chat(engine, model="m")
    talk(chat, *questions(6))
    before = chat.messages
    chunks = list(chat.ask("one more" + " word" * 10))
    assert [chunk.finish_reason for chunk in chunks] == ["interrupted"]
    assert chat.messages == before


def test_a_model_without_a_template_is_not_asked_for_summaries() -> None:
    engine, events = Storyteller(context_size=100, has_template=False), list[Event]()
    talk(Chat(engine, model="m", emit=events.append), *questions(8))
    assert engine.summaries == 0
    assert len(notices(events, "dropped")) == 1


# drop, stop, grow ---------------------------------------------------------------------------


def test_drop_tells_each_time_what_is_left_out(tmp_path: Path) -> None:
    path, events = tmp_path / "talk.json", list[Event]()
    engine = Storyteller(context_size=100)
    memory = sessions.open_session(str(path))
    with Chat(
        engine, model="m", memory=memory, system=SYSTEM, overflow=Overflow.DROP, emit=events.append
    ) as chat:
        talk(chat, *questions(20))
    assert engine.summaries == 0
    told = notices(events, "dropped")
    assert told[:2] == [
        "the context of 100 tokens is full: the model no longer sees the first 6 messages",
        "the context of 100 tokens is full: the model no longer sees the first 12 messages",
    ]
    lengths = [len(prompt) for prompt in engine.prompts]
    assert len(told) == sum(after < before for before, after in pairwise(lengths))
    assert len(json.loads(path.read_text())["messages"]) == 41
    assert all(words(prompt) <= 75 and prompt[0]["content"] == SYSTEM for prompt in engine.prompts)


def test_stop_tells_how_to_go_on_and_keeps_everything() -> None:
    engine = Storyteller(context_size=100)
    chat = Chat(engine, model="m", overflow=Overflow.STOP)
    with pytest.raises(GenerationError, match="no longer fits into the context of 100 tokens") as caught:
        talk(chat, *questions(8))
    assert "/clear" in (caught.value.hint or "")
    assert len(chat.messages) == 12
    chat.undo()
    talk(chat, "short")


def test_a_context_that_may_grow_grows_before_anything_is_left_out() -> None:
    engine, events = Storyteller(context_size=100, training_context=400), list[Event]()
    chat = Chat(engine, model="m", emit=events.append)
    talk(chat, *questions(20))
    assert 240 < engine.context_size <= 400
    assert events == []
    talk(chat, *questions(20))
    assert engine.summaries >= 1


def test_room_for_the_answer_that_was_asked_for() -> None:
    engine = Storyteller(context_size=100, training_context=300)
    chat = Chat(engine, model="m", options=SamplingOptions(max_tokens=150))
    talk(chat, "hello")
    assert engine.context_size == 151
    small = Storyteller(context_size=100)
    chat = Chat(small, model="m", options=SamplingOptions(max_tokens=10))
    talk(chat, *questions(20))
    assert max(words(prompt) for prompt in small.prompts) in range(80, 91)


# laws ---------------------------------------------------------------------------------------


@given(st.integers(1, 5000), st.one_of(st.none(), st.integers(1, 5000)))
def test_a_context_as_large_as_needed_is_large_enough(tokens: int, max_tokens: int | None) -> None:
    options = SamplingOptions(max_tokens=max_tokens)
    assert tokens <= prompt_room(needed_context(tokens, options), options)


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=25),
    st.integers(40, 160),
    st.sampled_from([Overflow.COMPACT, Overflow.DROP]),
    st.one_of(st.none(), st.integers(1, 60)),
    st.integers(1, 40),
)
def test_whatever_is_said_fits_and_nothing_is_lost(
    lengths: list[int], context_size: int, policy: Overflow, max_tokens: int | None, spoken: int
) -> None:
    engine, events = Storyteller(context_size=context_size, words=spoken), list[Event]()
    options = SamplingOptions(max_tokens=max_tokens)
    chat = Chat(engine, model="m", system=SYSTEM, options=options, overflow=policy, emit=events.append)
    asked = [f"q{number}" + " word" * (length - 1) for number, length in enumerate(lengths)]
    talk(chat, *asked)
    assert [m.content for m in chat.messages if m.role is Role.USER] == asked
    assert len(chat.messages) == 1 + 2 * len(asked)
    for number, prompt in enumerate(engine.prompts):
        assert words(prompt) < context_size
        assert prompt[0]["content"] == SYSTEM
        assert prompt[-1]["content"] == asked[number]
        if len(prompt) != 2 * number + 2:
            assert notices(events, "summary") or notices(events, "dropped")
