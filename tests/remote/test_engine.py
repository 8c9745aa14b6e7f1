"""The remote engine against a double of a server: what it asks, what it yields, and how it fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localllm.chatting import Chat
from localllm.conversation import Overflow
from localllm.engine import FinishReason, SamplingOptions, Source
from localllm.errors import GenerationError, LocalLLMError, OfflineError, StateError, UsageError
from localllm.events import Event, Notice
from localllm.remote.address import RemoteModel
from localllm.remote.answer import AnswerReader
from localllm.remote.engine import RemoteEngine
from localllm.remote.server import only_model
from tests.remote.chat_server import ChatServer, chat_server

MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as server:
        yield server


class Noted:
    """Keeps the notices of an engine."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.messages.append(event.message)


def engine_for(server: ChatServer, emit: Noted | None = None, **settings: Any) -> RemoteEngine:
    return RemoteEngine(RemoteModel.parse(server.reference()), emit=emit or Noted(), **settings)


def test_an_answer_with_its_counts_and_times(server: ChatServer) -> None:
    server.answers = ["One two three."]
    engine = engine_for(server)
    chunks = list(engine.stream(MESSAGES, SamplingOptions()))
    assert "".join(chunk.text for chunk in chunks) == "One two three."
    assert chunks[-1].finish_reason is FinishReason.STOP
    statistics = chunks[-1].statistics
    assert statistics is not None
    assert (statistics.prompt_tokens, statistics.cached_tokens, statistics.completion_tokens) == (11, 3, 3)
    assert statistics.time_to_first_token_seconds > 0
    (asked,) = server.asked
    assert asked == {
        "model": "tiny",
        "messages": MESSAGES,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert engine.count_tokens(MESSAGES) == 11
    assert "Authorization" not in server.headers[0]


def test_every_option_arrives(server: ChatServer) -> None:
    noted = Noted()
    options = SamplingOptions(
        temperature=0.5,
        top_p=0.9,
        top_k=20,
        min_p=0.1,
        max_tokens=50,
        repeat_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.3,
        seed=7,
        stop=("END",),
        n=2,
        logit_bias=((5, -3.0),),
        json_schema='{"type": "object"}',
    )
    engine_for(server, noted).answers(MESSAGES, options)
    asked = server.asked[0]
    expected = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.1,
        "max_tokens": 50,
        "repeat_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "seed": 7,
        "stop": ["END"],
        "n": 2,
        "logit_bias": {"5": -3.0},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
        },
    }
    assert {name: asked[name] for name in expected} == expected
    assert not noted.messages  # llama-server knows them all
    engine_for(server).answer(MESSAGES, SamplingOptions(grammar='root ::= "a"'))
    assert server.asked[-1]["grammar"] == 'root ::= "a"'
    with pytest.raises(UsageError, match="token ids"):
        engine_for(server).answer(MESSAGES, SamplingOptions(logit_bias=(("word", 1.0),)))


def test_what_a_server_may_not_know_is_said(server: ChatServer) -> None:
    noted = Noted()
    server.models = [{"id": "tiny", "owned_by": "library"}]
    engine = engine_for(server, noted)
    engine.answer(MESSAGES, SamplingOptions(top_k=5, min_p=0.1))
    engine.answer(MESSAGES, SamplingOptions(top_k=5, min_p=0.1))
    assert len(noted.messages) == 1
    assert "`top_k`, `min_p` are no part of the Chat Completions API" in noted.messages[0]
    server.models = [{"id": "tiny", "owned_by": "vllm"}]
    engine = engine_for(server, noted)
    engine.answer(MESSAGES, SamplingOptions(repeat_penalty=1.2))
    assert server.asked[-1]["repetition_penalty"] == 1.2
    with pytest.raises(UsageError, match="grammars"):
        engine.answer(MESSAGES, SamplingOptions(grammar="root ::= [a]"))


def test_refused_fields_are_left_out_and_said(server: ChatServer) -> None:
    noted = Noted()
    server.refuses = ("seed", "max_tokens", "stream_options")
    engine = engine_for(server, noted)
    for _ in range(2):
        answer = engine.answer(MESSAGES, SamplingOptions(seed=1, max_tokens=1))
        assert (answer.text, answer.finish_reason) == ("Hello", FinishReason.LENGTH)
    assert server.asked[-1].keys() == {"model", "messages", "stream", "max_completion_tokens"}
    assert len(server.asked) == 4 + 1  # learnt once
    assert [message for message in noted.messages if "`seed`" in message] == noted.messages
    server.refuses = ("response_format",)
    with pytest.raises(GenerationError, match="response_format"):
        engine.answer(MESSAGES, SamplingOptions(json_schema="{}"))


def test_several_answers_and_servers_that_give_one(server: ChatServer) -> None:
    server.answers = ["One.", "Two words."]
    answers = engine_for(server).answers(MESSAGES, SamplingOptions(n=2))
    assert [answer.text for answer in answers] == ["One.", "Two words."]
    assert answers[0].statistics.answers == 2
    noted = Noted()
    server.knows_n = False
    answers = engine_for(server, noted).answers(MESSAGES, SamplingOptions(n=2))
    assert answers[0].text == "One."
    assert answers[1].text == ""
    assert any("gave 1 of 2 answers" in message for message in noted.messages)


def test_tokens_of_all_answers_count_also_where_the_server_counts_one() -> None:
    reader = AnswerReader("host", 2)
    for index in (0, 1, 0, 1):
        choice = {"index": index, "delta": {"content": "a"}, "finish_reason": None}
        list(reader.read(json.dumps({"choices": [choice]})))
    list(reader.read('{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}'))
    statistics = list(reader.last_chunks())[-1].statistics
    assert statistics is not None
    assert (statistics.prompt_tokens, statistics.completion_tokens, statistics.answers) == (9, 4, 2)


def test_reasoning_comes_as_models_write_it(server: ChatServer) -> None:
    server.reasoning = "Let me think."
    answer = engine_for(server).answer(MESSAGES)
    assert answer.text == "<think>\nLet me think. \n</think>\n\nHello there."


def test_whole_answers_and_no_usage(server: ChatServer) -> None:
    server.streams = False
    assert engine_for(server).answer(MESSAGES).text == "Hello there."
    server.streams, server.tells_usage = True, False
    statistics = engine_for(server).answer(MESSAGES).statistics
    assert statistics.completion_tokens == 2
    assert statistics.prompt_tokens > 0


def test_the_context_is_what_the_server_tells_or_unknown(server: ChatServer) -> None:
    assert not engine_for(server).knows_context
    server.context = 4096
    assert engine_for(server).context_size == 4096
    assert engine_for(server, context_size=1000).context_size == 1000
    server.models = [{"id": "tiny", "owned_by": "vllm", "max_model_len": 2048}]
    engine = engine_for(server)
    assert engine.context_size == 2048
    assert engine.knows_context
    assert not engine.grow(2049)
    assert engine.effective(SamplingOptions())["temperature"].source is Source.SERVER
    with pytest.raises(StateError):
        engine.save_state(Path("x"))


@pytest.mark.parametrize("phase", ["reading_seconds", "pause_seconds"])
def test_an_interruption_ends_the_request_at_once(server: ChatServer, phase: str) -> None:
    server.answers = ["word " * 500]
    setattr(server, phase, 0.2 if phase == "pause_seconds" else 20.0)
    engine = engine_for(server)
    timer = threading.Timer(0.5, engine.interrupt)
    timer.start()
    started = time.monotonic()
    chunks = list(engine.stream(MESSAGES, SamplingOptions()))
    assert time.monotonic() - started < 10
    assert chunks[-1].finish_reason is FinishReason.INTERRUPTED
    assert chunks[-1].statistics is not None
    timer.join()
    server.pause_seconds = server.reading_seconds = 0
    server.answers = ["Again."]
    assert engine.answer(MESSAGES).text == "Again."


def test_closing_the_stream_ends_the_request(server: ChatServer) -> None:
    server.answers, server.pause_seconds = ["word " * 500], 0.01
    stream = engine_for(server).stream(MESSAGES, SamplingOptions())
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    until = time.monotonic() + 10
    while not server.hang_ups:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"status": 400, "error": {"error": {"message": "the prompt\nis odd"}}},
            "refuses: the prompt is odd",
        ),
        ({"status": 500, "error": "<html>oh no</html>"}, "refuses: 500 Internal Server Error"),
        ({"status": 503, "error": {"error": {"message": "Loading model"}}}, "Loading model"),
        ({"status": 404, "error": {"detail": "nobody"}}, "has no model `tiny`, or no such API: nobody"),
        ({"error_in_stream": {"error": {"message": "out of memory"}}}, ": out of memory"),
        ({"error_in_stream": ["?"]}, "something else than the API's events"),
        ({"cut": 1}, "connection|broke off"),
    ],
)
def test_errors_of_the_server_are_one_line(
    server: ChatServer, settings: dict[str, Any], message: str
) -> None:
    for name, value in settings.items():
        setattr(server, name, value)
    with pytest.raises(LocalLLMError, match=message) as caught:
        engine_for(server).answer(MESSAGES)
    assert "\n" not in caught.value.message


def test_the_key_is_sent_and_never_shown(server: ChatServer) -> None:
    server.key = "sk-right"
    assert engine_for(server, key="sk-right").answer(MESSAGES).text == "Hello there."
    with pytest.raises(GenerationError) as caught:
        engine_for(server, key="sk-wrong").answer(MESSAGES)
    assert "does not let you in" in caught.value.message
    assert "sk-wrong" not in caught.value.message
    assert "--api-key-env" in str(caught.value.hint)


def test_nobody_listens() -> None:
    with pytest.raises(OfflineError, match=r"cannot reach 127\.0\.0\.1:9"):
        RemoteEngine(RemoteModel.parse("http://127.0.0.1:9/v1#x"))


def test_the_only_model_of_a_server(server: ChatServer) -> None:
    assert only_model(server.base, None) == "tiny"
    server.models = [{"id": "a"}, {"id": "b"}]
    with pytest.raises(UsageError, match="several models: a, b"):
        only_model(server.base, None)


def test_a_conversation_is_summarised_before_the_server_is_full(server: ChatServer) -> None:
    server.context = 400
    server.answers = ["A long answer, " + "word " * 60]
    noted = Noted()
    engine = engine_for(server, noted)
    with Chat(engine, model="tiny", overflow=Overflow.COMPACT, emit=noted) as chat:
        for number in range(6):
            list(chat.ask(f"Question {number}? " + "more " * 20))
        assert chat.usage().context_size == 400
        assert not chat.usage().is_exact
    assert any("summar" in message for message in noted.messages)
    longest = max(sum(len(m["content"].split()) + 4 for m in body["messages"]) for body in server.asked)
    assert longest < 400
