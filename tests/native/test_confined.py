"""The child process for untrusted input: results, errors, limits, and going on after a kill."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from localllm.native.confined import Confined, ConfinementError

ME = "tests.native.test_confined"


def echo(arguments: dict[str, Any]) -> Any:
    return arguments


def fail(arguments: dict[str, Any]) -> None:
    raise ValueError(f"{arguments['what']}\nand more")


def fail_without_words(arguments: dict[str, Any]) -> None:
    raise KeyError


def loop(arguments: dict[str, Any]) -> None:
    while True:
        pass


def count_to_infinity(arguments: dict[str, Any]) -> int:
    return int(10 ** (10**10) > 1)  # one operation in C that nothing interrupts


def eat(arguments: dict[str, Any]) -> int:
    return len("a" * 10 ** arguments["digits"])


def die(arguments: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)


def recurse(arguments: dict[str, Any]) -> Any:
    return recurse(arguments)


def say(arguments: dict[str, Any]) -> str:
    print("on standard output")
    return "said"


@pytest.fixture(scope="module")
def confined() -> Iterator[Confined]:
    confined = Confined(256, preload=ME)
    yield confined
    confined.close()


def call(confined: Confined, name: str, seconds: float = 5.0, **arguments: Any) -> Any:
    return confined.call(f"{ME}:{name}", arguments, seconds)


def test_results_come_back(confined: Confined) -> None:
    assert call(confined, "echo", a=[1, "ü\ud800", None]) == {"a": [1, "ü\ud800", None]}
    assert call(confined, "say") == "said"


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("fail", {"what": "words"}, "words"),
        ("fail_without_words", {}, "KeyError"),
        ("recurse", {}, "is nested too deeply"),
        ("nothing_of_this_name", {}, "nothing_of_this_name"),
    ],
)
def test_errors_are_one_line(confined: Confined, name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfinementError, match=said) as caught:
        call(confined, name, **arguments)
    assert not caught.value.stopped
    assert "\n" not in caught.value.message
    assert call(confined, "echo") == {}


@pytest.mark.parametrize("name", ["loop", "count_to_infinity"])
def test_time_is_limited(confined: Confined, name: str) -> None:
    call(confined, "echo")
    with pytest.raises(ConfinementError, match="did not finish within") as caught:
        call(confined, name, 0.3)
    assert caught.value.stopped
    assert call(confined, "echo") == {}


@pytest.mark.parametrize("digits", [9, 10, 12])
def test_memory_is_limited(confined: Confined, digits: int) -> None:
    with pytest.raises(ConfinementError, match="too much memory"):
        call(confined, "eat", digits=digits)
    assert call(confined, "eat", digits=6) == 10**6


def test_a_death_is_an_error(confined: Confined) -> None:
    with pytest.raises(ConfinementError, match="ended unexpectedly"):
        call(confined, "die")
    assert call(confined, "echo") == {}


def test_threads_take_turns(confined: Confined) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda n=number: found.append(call(confined, "echo", n=n)["n"]))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(20))


def test_nothing_is_left_running() -> None:
    confined = Confined(256, preload=ME)
    confined.start()
    call(confined, "echo")
    assert confined._child is not None
    process = confined._child._process
    assert process.poll() is None
    confined.close()
    assert process.poll() is not None
