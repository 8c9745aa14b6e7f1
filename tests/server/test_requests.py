"""What a stranger sends: wrong bodies, hosts, keys. Always an error in the API's shape, never a crash."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from localllm.errors import GenerationError, ModelLoadError, QueueFullError, UnavailableError
from localllm.server.chat_fields import ChatFields
from localllm.server.fields import Fields
from localllm.server.keys import Keys
from localllm.server.settings import ServerSettings
from localllm.server.text_fields import EmbeddingFields, TextFields
from tests.server.asgi import CHAT, Client, messages
from tests.server.double import DoubleEngine

BROKEN = {
    "nothing": b"",
    "no JSON": b"hello",
    "half": b'{"model": "m", "messages": [',
    "a list": b"[]",
    "a number": b"1",
    "not a number": b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    "infinite": b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": 1e999}',
    "infinite inside": b'{"messages": [{"role": "user", "content": "x"}], "metadata": {"a": [1e999]}}',
    "huge": b'{"messages": [{"role": "user", "content": "x"}], "seed": ' + b"9" * 5000 + b"}",
    "deep": b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "lone surrogate": b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    "not UTF-8": b'{"messages": [{"role": "user", "content": "\xff"}]}',
    "a mark in front": b'\xef\xbb\xbf{"messages": []}',
    "wrong types": b'{"model": 1, "messages": {"role": "user"}}',
    "zero byte": b'{"messages": [{"role": "user", "content": "\x00"}]}',
}


def client(engine: DoubleEngine | None = None, **settings: Any) -> Client:
    return Client(engine or DoubleEngine(), ServerSettings(**settings))


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_request_is_refused(name: str) -> None:
    answer = client().ask(BROKEN[name])
    assert answer.status == 400
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_only_json_is_read(kind: str) -> None:
    answer = asyncio.run(client().send("POST", CHAT, b"{}", {"content-type": kind}))
    assert answer.status == 415


def test_other_encodings_are_refused() -> None:
    for headers in ({"content-type": "application/json; charset=utf-16"}, {"content-encoding": "gzip"}):
        both = {"content-type": "application/json", **headers}
        assert asyncio.run(client().send("POST", CHAT, b"{}", both)).status == 415


def test_a_large_body_is_refused_by_its_announcement_and_by_its_size() -> None:
    small = client(max_body_bytes=200)
    assert small.ask(messages("x" * 300)).status == 413
    announced = asyncio.run(
        small.send("POST", CHAT, b"{}", {"content-type": "application/json", "content-length": "9" * 30})
    )
    assert announced.status == 413
    assert small.ask(messages("x")).status == 200


def test_ten_thousand_random_bodies() -> None:
    """Bytes, and requests with something exchanged: no answer is 5xx, no request leaves anything running."""
    engine = DoubleEngine(answer="x")
    asked, chance = client(engine, max_body_bytes=4000), random.Random(4)

    async def ask_all() -> Counter[int]:
        counts: Counter[int] = Counter()
        for number in range(10_000):
            path = list(GOOD)[number % len(GOOD)]
            answer = await asked.post(random_body(chance, path), path)
            counts[answer.status] += 1
        return counts

    counts = asyncio.run(ask_all())
    assert set(counts) <= {200, 400, 404, 413}, counts
    assert counts[400] > 5000
    assert counts[200] > 200  # some of what is exchanged does no harm
    assert asked.ask(messages()).status == 200
    assert engine.load.busy_slots == 0


GOOD: dict[str, tuple[dict[str, Any], type[Fields]]] = {
    CHAT: (messages(), ChatFields),
    "/v1/completions": ({"model": "m", "prompt": "Hi"}, TextFields),
    "/v1/embeddings": ({"model": "m", "input": "Hi"}, EmbeddingFields),
}
VALUES: list[Any] = [
    *(None, True, -1, 1, 1.5, 2**70, "", "\U0001f600", "x" * 5000),
    *([], {}, [[]], [1], {"type": "text"}, {"a": None}),
]


def random_body(chance: random.Random, path: str) -> bytes:
    """Return bytes, a request with bytes exchanged, or one with fields exchanged or its messages spoilt."""
    good, fields = GOOD[path]
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randrange(80))
    if kind == 1:
        mutated = bytearray(json.dumps(good).encode())
        for _ in range(chance.randrange(1, 6)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        return bytes(mutated)
    names = [*fields.model_fields, "no such field"]
    wish = {**good, **{chance.choice(names): chance.choice(VALUES) for _ in range(chance.randrange(1, 4))}}
    if kind == 3 and path == CHAT:
        parts = ("role", "content", "name", "tool_calls")
        wish["messages"] = [{"role": "user", "content": "Hi", chance.choice(parts): chance.choice(VALUES)}]
    return json.dumps(wish).encode()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "10.0.0.1",
        "",
        "127.0.0.1@evil",
        "[::1",
        "a b",
    ],
)
def test_a_foreign_host_is_refused(host: str) -> None:
    answer = client().ask(messages(), host=host)
    assert answer.status == 403
    assert answer.error["code"] == "host_not_allowed"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "app.localhost"]
)
def test_this_machine_is_no_foreign_host(host: str) -> None:
    assert client().ask(messages(), host=host).status == 200


def test_other_names_can_be_allowed() -> None:
    named = client(allowed_hosts=("box.lan",))
    assert named.ask(messages(), host="Box.lan:8080").status == 200
    assert named.ask(messages(), host="other.lan").status == 403


def test_a_wide_address_answers_to_addresses_but_not_to_names() -> None:
    wide = client(host="0.0.0.0", keys=Keys(["k"]))
    authorized = {"authorization": "Bearer k"}
    assert wide.ask(messages(), host="192.168.1.7:8080", **authorized).status == 200
    assert wide.ask(messages(), host="evil.example", **authorized).status == 403


@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer wrong", "Basic a2V5", "key", "Bearer key2", "Bearer k\xe9y"]
)
def test_without_the_key_nothing_is_answered(given: str | None) -> None:
    locked = client(keys=Keys(["key"]))
    headers = {} if given is None else {"authorization": given}
    for answer in (
        locked.ask(messages(), **headers),
        locked.get("/metrics", **headers),
        locked.get("/x", **headers),
    ):
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.error["code"] == "invalid_api_key"
    assert locked.get("/health").status == 200


def test_each_of_several_keys_opens() -> None:
    locked = client(keys=Keys(["one", "two"]))
    for key in ("one", "two"):
        assert locked.ask(messages(), authorization=f"Bearer {key}").status == 200


def test_no_page_may_ask_unless_allowed() -> None:
    asked = {"origin": "http://page.example", "access-control-request-method": "POST"}
    closed, opened = client(), client(allowed_origins=("http://page.example",))
    assert closed.get(CHAT, "OPTIONS", **asked).status == 405
    assert "access-control-allow-origin" not in closed.ask(messages(), origin="http://page.example").headers
    assert (
        opened.get(CHAT, "OPTIONS", **asked).headers["access-control-allow-origin"] == "http://page.example"
    )
    other = opened.get(CHAT, "OPTIONS", **{**asked, "origin": "http://other.example"})
    assert "access-control-allow-origin" not in other.headers
    refused = opened.ask(b"", origin="http://page.example")
    assert refused.headers["access-control-allow-origin"] == "http://page.example"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/v1/chat/completions", 405), ("POST", "/v1/models", 405),
     ("GET", "/v1/models/../../etc/passwd", 404), ("GET", "/v1/models/none", 404),
     ("GET", "/\x1b[2J\n", 404)],
)  # fmt: skip
def test_addresses_that_are_none(method: str, path: str, status: int) -> None:
    answer = client().get(path, method)
    assert answer.status == status
    assert answer.error["type"] == "invalid_request_error"


def test_models_are_listed_and_found() -> None:
    served = client()
    listed = served.get("/v1/models").json
    assert [model["id"] for model in listed["data"]] == ["m"]
    assert served.get("/v1/models/m").json == listed["data"][0]
    assert "context_length" not in listed["data"][0]  # nobody asked it anything yet


def test_a_loaded_model_tells_how_much_a_request_may_take() -> None:
    engine = DoubleEngine()
    served = client(engine)
    assert served.ask(messages("x")).status == 200
    assert served.get("/v1/models/m").json["context_length"] == engine.context_size


@pytest.mark.parametrize(
    ("refusal", "status", "kind"),
    [
        (QueueFullError("64 requests wait", retry_after_seconds=7), 429, "rate_limit_error"),
        (UnavailableError("it stops"), 503, "server_error"),
        (GenerationError("the template rejects it"), 400, "invalid_request_error"),
        (ModelLoadError("broken"), 500, "server_error"),
    ],
)
def test_what_an_engine_refuses(refusal: Any, status: int, kind: str) -> None:
    answer = client(DoubleEngine(refusal=refusal)).ask({**messages(), "stream": True})
    assert answer.status == status
    assert answer.error["type"] == kind
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)


def test_a_prompt_that_is_too_long_is_told_as_clients_expect() -> None:
    answer = client(DoubleEngine(context_size=8)).ask(messages("more than eight letters"))
    assert answer.status == 400
    assert answer.error["code"] == "context_length_exceeded"


def test_what_fails_in_a_stream_is_told_in_it() -> None:
    failing = DoubleEngine(failure=GenerationError("llama_decode failed"))
    events = client(failing).ask({**messages(), "stream": True}).events
    assert events[-1]["error"]["message"] == "llama_decode failed"
    assert client(failing).ask(messages()).status == 400


def test_a_bug_ends_its_request_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = DoubleEngine()
    served = client(engine)
    monkeypatch.setattr(engine, "chat_prompt", lambda *_, **__: 1 / 0)
    answer = served.ask(messages())
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "division" not in answer.body.decode()
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert served.ask(messages()).status == 200


def test_keys_are_not_in_the_log_and_paths_steer_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "localllm.server")
    locked = client(keys=Keys(["secret-key"]))
    locked.ask(messages(), "/v1/\x1b[31mred\nline?key=secret-key", authorization="Bearer secret-key")
    assert "secret" not in caplog.text.replace("?key=secret-key", "")
    assert "\x1b" not in caplog.text
    assert len(caplog.messages) == 1
    assert "\n" not in caplog.messages[0]


def test_no_file_is_read_for_a_request(tmp_path: Path) -> None:
    """Names of files are names: of a model, in a message, in a schema."""
    secret = tmp_path / "secret.txt"
    secret.write_text("treasure")
    served = client()
    assert served.ask({**messages(), "model": str(secret)}).status == 404
    told = served.ask(messages(f"@{secret}"))
    assert "treasure" not in told.body.decode()
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": secret.as_uri()}}}
    assert "treasure" not in served.ask({**messages(), "response_format": schema}).body.decode()
