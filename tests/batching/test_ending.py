"""Closing with and without grace, listeners that fail, an engine that breaks, and what is left behind."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from localllm.batching import BatchedEngine, Delta
from localllm.batching.answer import Answer
from localllm.batching.job import Job
from localllm.batching.ticket import Ticket
from localllm.errors import LocalLLMError, UnavailableError, UsageError
from localllm.events import Event, Notice
from localllm.native.sampler import Sampler
from tests.batching.asking import ENDLESS, GREEDY, ROOMY, Watch, ask, chat
from tests.batching.test_sharing import LONG


def complaints(events: list[Event]) -> int:
    """Return how often the engine said that a listener failed."""
    return sum(isinstance(event, Notice) and event.topic == "listener-failed" for event in events)


def test_closing_with_grace_lets_answers_end(demo_path: Path) -> None:
    engine = BatchedEngine(demo_path, ROOMY, parallel=1)
    watch = Watch(engine)
    watch.hold()
    running = ask(engine, "Who are you?")
    assert watch.held.wait(60)
    waiting = ask(engine, "hi")
    closing = threading.Thread(target=engine.close, args=(60.0,))
    closing.start()
    assert isinstance(waiting.wait().error, UnavailableError)
    with pytest.raises(UnavailableError, match="stopping"):
        ask(engine, "hi")
    watch.go_on()
    assert running.wait().text
    assert running.error is None
    closing.join(60)
    assert not closing.is_alive()


def test_closing_without_grace_ends_all_at_once(demo_path: Path) -> None:
    engine = BatchedEngine(demo_path, ROOMY, parallel=2)
    clients = [ask(engine, "Who are you?", ENDLESS), ask(engine, LONG), ask(engine, "hi")]
    assert clients[0].first.wait(60)
    engine.close()
    assert isinstance(clients[0].wait().error, UnavailableError)
    assert all(client.wait() for client in clients)
    engine.close()  # again


def test_a_listener_that_fails_loses_its_own_request_alone(demo_path: Path) -> None:
    events: list[Event] = []
    with BatchedEngine(demo_path, ROOMY, parallel=2, emit=events.append) as engine:
        watch = Watch(engine)
        watch.hold()
        failing = ask(engine, "Who are you?", ENDLESS)

        def explode(delta: Delta) -> None:
            raise RuntimeError("boom")

        failing.ticket._callbacks = (explode, failing.fail)
        fine = ask(engine, "What is perplexity?")
        watch.go_on()
        assert fine.wait().text
        assert ask(engine, "hi").wait().text
        assert engine.load.totals.cancelled_requests == 1
    assert complaints(events) == 1


def test_closing_while_listeners_fail(demo_path: Path) -> None:
    events: list[Event] = []
    engine = BatchedEngine(demo_path, ROOMY, parallel=2, emit=events.append)
    clients = [ask(engine, "Who are you?", ENDLESS) for _ in range(2)]
    assert all(client.first.wait(60) for client in clients)

    def explode(error: LocalLLMError) -> None:
        raise RuntimeError("boom")

    with clients[0].ticket._lock:
        clients[0].ticket._callbacks = (clients[0].deliver, explode)
    engine.close()
    assert isinstance(clients[1].wait().error, UnavailableError)
    assert complaints(events) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_breaks_says_so(engine: BatchedEngine) -> None:
    watch = Watch(engine)

    def broken(pieces: object) -> bool:
        raise ZeroDivisionError("a bug")

    watch.on_batch = broken
    assert isinstance(ask(engine, "hi").wait().error, UnavailableError)
    with pytest.raises(UnavailableError):
        ask(engine, "hi")


def test_nothing_is_left_of_requests(engine: BatchedEngine) -> None:
    prompts = [chat(engine, text) for text in ("hi", "Who are you?", "My name is Ada")]
    quick = GREEDY.changed(max_tokens=2)
    for number in range(200):
        clients = [ask(engine, prompts[(number + each) % 3], quick.changed(n=1 + each)) for each in range(3)]
        if number % 3 == 0:
            clients[number % 2].ticket.cancel()
        for client in clients:
            if not client.ticket.is_cancelled:
                client.wait()
    load = engine.load
    assert load.totals.requests == 600
    assert load.totals.finished_requests + load.totals.cancelled_requests == 600
    del clients, client
    ask(engine, "hi", quick).wait()
    gc.collect()
    left = [each for each in gc.get_objects() if isinstance(each, Job | Answer | Ticket | Sampler)]
    assert len(left) <= 3  # the engine's thread may still hold the last one
    assert engine.load.busy_slots == 0


def test_numbers_out_of_range(demo_path: Path) -> None:
    with pytest.raises(UsageError, match="parallel must be between 1 and 256, not 0"):
        BatchedEngine(demo_path, parallel=0)
    with pytest.raises(UsageError, match="queue must be at least 0"):
        BatchedEngine(demo_path, queue=-1)
