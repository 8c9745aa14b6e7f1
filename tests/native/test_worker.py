"""Jobs in child processes: results, events, errors, crashes, and the end of parent or child."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any

import pytest

from localllm.errors import NativeCrashError, QuantizationError
from localllm.events import Advanced, Emit, Event, Notice, Started
from localllm.native.worker import Worker, run_job

HERE = "tests.native.test_worker"


def echo_job(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    emit(Started("work", 2))
    emit(Advanced("work", 1, "Ünïcode"))
    emit(Notice("careful", "a hint"))
    return {"got": arguments}


def failing_job(arguments: dict[str, Any], emit: Emit) -> None:
    raise QuantizationError("it does not work", hint="try another way")


def printing_job(arguments: dict[str, Any], emit: Emit) -> str:
    print("text that must not reach the channel")
    os.write(1, b"nor this\n")
    return "fine"


def aborting_job(arguments: dict[str, Any], emit: Emit) -> None:
    os.write(2, b"/tmp/built/here/llama-model.cpp:1328: GGML_ASSERT(something) failed\n")
    ctypes.CDLL(None).abort()


def process_job(arguments: dict[str, Any], emit: Emit) -> int:
    return os.getpid()


def endless_job(arguments: dict[str, Any], emit: Emit) -> None:
    emit(Started(str(os.getpid())))
    while True:
        time.sleep(1)


def buggy_job(arguments: dict[str, Any], emit: Emit) -> None:
    raise ZeroDivisionError("a bug")


def test_results_and_events_cross_over() -> None:
    events: list[Event] = []
    result = run_job(f"{HERE}:echo_job", {"text": "ÄÖÜ", "n": 1}, emit=events.append)
    assert result == {"got": {"text": "ÄÖÜ", "n": 1}}
    assert events == [Started("work", 2), Advanced("work", 1, "Ünïcode"), Notice("careful", "a hint")]


def test_one_child_does_one_job_after_another() -> None:
    """Also behind one that failed; results come in the order of the jobs, whenever they are asked for."""
    with Worker() as worker:
        worker.begin(f"{HERE}:process_job", {})
        worker.begin(f"{HERE}:failing_job", {})
        worker.begin(f"{HERE}:process_job", {})
        first = worker.result()
        with pytest.raises(QuantizationError):
            worker.result()
        assert worker.result() == first != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_a_job_nobody_waits_for_ends_with_the_worker() -> None:
    with Worker() as worker:
        worker.begin(f"{HERE}:process_job", {})
        worker.begin(f"{HERE}:endless_job", {})
        process = worker.result()
        begin = time.monotonic()
    assert time.monotonic() - begin < 5
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_errors_keep_class_message_and_hint() -> None:
    with pytest.raises(QuantizationError) as caught:
        run_job(f"{HERE}:failing_job", {})
    assert caught.value.message == "it does not work"
    assert caught.value.hint == "try another way"


def test_what_is_printed_does_not_disturb() -> None:
    assert run_job(f"{HERE}:printing_job", {}) == "fine"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_abort_becomes_an_error_with_its_last_words() -> None:
    with pytest.raises(
        NativeCrashError, match=r"SIGABRT: llama-model\.cpp:1328: GGML_ASSERT\(something\) failed"
    ):
        run_job(f"{HERE}:aborting_job", {})


def test_a_bug_in_the_child_shows_its_traceback() -> None:
    with pytest.raises(NativeCrashError, match="ZeroDivisionError: a bug"):
        run_job(f"{HERE}:buggy_job", {})


def test_an_exception_in_the_parent_ends_the_child() -> None:
    seen: list[int] = []

    def interrupt(event: Event) -> None:
        assert isinstance(event, Started)
        seen.append(int(event.step))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(f"{HERE}:endless_job", {}, emit=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], signal.SIGTERM)
