"""`localllm chat --api-base` as a process: answers, sessions, commands, Ctrl-C, and what is never written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.process import COMMAND, environment, localllm
from tests.remote.chat_server import ChatServer, chat_server

KEY = "sk-very-secret"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as server:
        yield server


def written(home: Path) -> str:
    """Return everything that was written below a home, as far as it is text."""
    return "".join(
        path.read_text(encoding="utf-8", errors="replace") for path in home.rglob("*") if path.is_file()
    )


def test_one_answer_and_its_session(server: ChatServer, pinned_environment: Path) -> None:
    server.key = KEY
    keyed = {"MY_KEY": KEY}
    arguments = ["--api-base", server.base, "--model", "tiny", "--api-key-env", "MY_KEY"]
    once = localllm("chat", *arguments, "Hello", "--temperature", "0.1", "--json", env=keyed)
    assert once.returncode == 0, once.stderr
    data = json.loads(once.stdout)["data"]
    assert data["text"] == "Hello there."
    assert data["model"] == server.reference()
    assert data["prompt_tokens"] == 5
    assert server.asked[0]["temperature"] == 0.1

    server.answers = ["And again."]
    more = localllm("chat", "-c", "--api-key-env", "MY_KEY", "And then?", env=keyed)
    assert (more.returncode, more.stdout) == (0, "And again.\n"), more.stderr
    assert [message["content"] for message in server.asked[-1]["messages"]] == [
        "Hello",
        "Hello there.",
        "And then?",
    ]
    refused = localllm("chat", "-c", "Once more", env=keyed)
    assert refused.returncode == 1
    assert "does not let you in" in refused.stderr
    assert KEY not in written(pinned_environment)
    assert KEY not in "".join((once.stdout, once.stderr, more.stderr, refused.stderr))
    assert not list(pinned_environment.rglob("*.state"))


def test_a_conversation_with_commands(server: ChatServer) -> None:
    server.answers = ["One.", "Two."]
    talk = "Hello\n/show\n/tokens\n/set top-k 5\nAgain\n/regen\n/stats\nquit\n"
    done = localllm("chat", "--api-base", server.base, "--no-save", stdin=talk)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line in ("One.", "Two.")] == ["One.", "Two.", "One."]
    assert "left to the server" in done.stdout + done.stderr
    assert "tokens; its size is unknown" in done.stdout + done.stderr
    assert server.asked[-1]["top_k"] == 5
    assert len(server.asked) == 3


def test_another_model_of_the_server_goes_on(server: ChatServer) -> None:
    server.models.append({"id": "other", "owned_by": "llamacpp"})
    arguments = ["chat", "--api-base", server.base, "--no-save"]
    several = localllm(*arguments, "Hi")
    assert several.returncode == 2
    assert "several models: tiny, other" in several.stderr
    talk = "Hi\n/model #other\nGo on\nquit\n"
    done = localllm(*arguments, "--model", "tiny", stdin=talk)
    assert done.returncode == 0, done.stderr
    assert [asked["model"] for asked in server.asked] == ["tiny", "other"]
    assert [len(asked["messages"]) for asked in server.asked] == [1, 3]


def test_the_context_can_be_told(server: ChatServer) -> None:
    done = localllm(
        "chat", "--api-base", server.base, "--context", "2048", "--no-save", stdin="Hi\n/show\nquit\n"
    )
    assert "of 2048 tokens" in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_closes_the_connection(server: ChatServer) -> None:
    server.answers, server.pause_seconds = ["word " * 1000], 0.02
    process = subprocess.Popen(
        [*COMMAND, "chat", "--api-base", server.base, "Hello"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.read(4) == "word"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    until = time.monotonic() + 10
    while not server.hang_ups:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "x", "Hi"], "`--api-base URL` names it"),
        (["--api-base", "BASE", "--api-key-env", "NOT_SET", "Hi"], "`NOT_SET` holds no key"),
        (["--api-base", "BASE", "demo", "Hi"], "there is no MODEL"),
        (["--api-base", "BASE", "--threads", "2", "Hi"], "`--threads` is for models on this machine"),
        (["--api-base", "BASE", "--lora", "x", "Hi"], "`--lora` is for models on this machine"),
        (["--api-base", "nowhere", "Hi"], "is not the address of an API"),
    ],
)
def test_what_makes_no_sense_is_refused(server: ChatServer, arguments: list[str], message: str) -> None:
    refused = localllm("chat", *(server.base if each == "BASE" else each for each in arguments))
    assert refused.returncode == 2, refused.stderr
    assert message in refused.stderr
    assert not server.asked
