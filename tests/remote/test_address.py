"""Addresses of APIs and their models, server-sent events, and counts of tokens that are estimates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.errors import UsageError
from localllm.remote.address import RemoteModel, api_base, is_remote
from localllm.remote.counting import TokenCounter
from localllm.remote.sse import LONGEST_EVENT, events


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1"),
        ("https://API.example.org/v1/", "https://api.example.org/v1"),
        ("https://example.org/openai/v2", "https://example.org/openai/v2"),
        ("http://localhost:11434/v1/chat/completions", "http://localhost:11434/v1"),
        ("http://[::1]:8080", "http://[::1]:8080/v1"),
    ],
)
def test_bases(text: str, base: str) -> None:
    assert api_base(text) == base
    model = RemoteModel(base, "org/name:Q4_K_M")
    assert RemoteModel.parse(str(model)) == model
    assert is_remote(str(model))


@pytest.mark.parametrize(
    "text",
    [
        "ftp://x",
        "127.0.0.1:8080",
        "http://",
        "http://x:port/",
        "http://x/?key=1",
        "http://a b",
        "",
        "http://x:0",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        api_base(text)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="saved conversations") as caught:
        api_base("http://me:secret@example.org/v1")
    assert "secret" not in caught.value.message


def test_what_is_remote() -> None:
    assert not is_remote("http://example.org/model.gguf")
    assert not is_remote("org/repo#x")
    assert RemoteModel.parse("http://localhost:1/v1#x").is_local
    assert RemoteModel.parse("http://[::1]:1/v1#x").is_local
    assert not RemoteModel.parse("http://192.168.1.2/v1#x").is_local
    with pytest.raises(UsageError, match="names no model"):
        RemoteModel.parse("http://localhost:1/v1#")


def test_events() -> None:
    lines = [": hi", "data: a", "data:b", "", "event: x", "id: 1", "", "error: {}", "", "data: last"]
    assert list(events(lines)) == ["a\nb", "{}", "last"]
    with pytest.raises(ValueError, match="too long"):
        list(events(["data: " + "x" * (LONGEST_EVENT + 1)]))


@given(st.lists(st.text(max_size=40), max_size=8))
def test_estimates_grow_with_what_is_counted(texts: list[str]) -> None:
    counter = TokenCounter()
    messages = [{"role": "user", "content": text} for text in texts]
    counts = [counter.messages(messages[:count]) for count in range(len(messages) + 1)]
    assert counts == sorted(counts)


def test_counts_are_learnt_from_what_the_server_tells() -> None:
    counter = TokenCounter()
    first = [{"role": "user", "content": "word " * 200}]
    counter.learn(first, 205)
    assert counter.messages(first) == 205
    more = [*first, {"role": "assistant", "content": "word " * 100}]
    assert counter.messages(more) == 205 + 100 + 5
    assert counter.text("word " * 10) == 10
    assert counter.text("") == 0
    other = [{"role": "user", "content": "word " * 20}]
    assert counter.messages(other) == 25
