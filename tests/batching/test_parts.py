"""The parts that decide without a model: pace, pool, tickets."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from localllm.batching.pace import Pace
from localllm.batching.pool import Pool, pool_for
from localllm.batching.requests import Delta, Usage
from localllm.batching.ticket import Ticket
from localllm.engine.workspace import common_length
from localllm.errors import GenerationError, LocalLLMError
from localllm.events import ignore


def settled(step: float, token: float, most: int = 512) -> int:
    """Return the slice on a machine whose batches take `step` seconds and `token` for each token."""
    pace = Pace(most)
    for _ in range(40):
        for tokens in (1, 4, pace.slice_tokens):
            pace.learn(tokens, step + tokens * token)
    return pace.slice_tokens


def test_slices_are_short_where_tokens_are_slow_and_long_where_nobody_notices() -> None:
    assert 24 <= settled(step=0.06, token=0.01) <= 40
    assert settled(step=0.003, token=0.00002) >= 64
    assert settled(step=0.001, token=0.0) == 512
    assert settled(step=5.0, token=1.0) <= 64


def test_a_slice_takes_no_longer_than_a_short_prompt() -> None:
    for step, token in ((0.06, 0.01), (0.2, 0.005), (0.01, 0.02)):
        assert step + settled(step, token) * token <= 1.01 * (step + 24 * token)


def test_slices_grow_by_no_more_than_twice_at_a_time() -> None:
    pace = Pace(512)
    pace.learn(24, 1e-6)
    assert pace.slice_tokens == 48


def test_nobody_waits_where_there_is_one_slot() -> None:
    assert Pace(512, alone=True).slice_tokens == 512


class Room:
    def __init__(self, cells: int) -> None:
        self._cells = cells

    def fits(self, size: int) -> bool:
        return size <= self._cells


def test_the_pool_is_as_large_as_fits() -> None:
    def pool(context: int | None, cells: int, trained: int = 131072) -> Pool:
        return pool_for(context, 4, trained, Room(cells))  # type: ignore[arg-type]

    assert pool(None, 10**6) == Pool(8192, 32768)
    assert pool(None, 20000) == Pool(4096, 16384)
    assert pool(None, 5000) == Pool(2048, 4096)
    assert pool(None, 100) == Pool(2048, 2048)
    assert pool(None, 10**6, trained=1000) == Pool(1000, 4000)
    assert pool(16000, 40000) == Pool(16000, 32000)
    assert pool(16000, 100) == Pool(16000, 16000)


def test_a_ticket_says_nothing_after_its_end() -> None:
    heard: list[Delta | LocalLLMError] = []
    last = Delta(0, "b", usage=Usage(1, 0, 1, 0.0, 0.0))
    ticket = Ticket(heard.append, heard.append, ignore)
    for delta in (Delta(0, "a"), last, Delta(0, "c")):
        ticket.send(delta)
    ticket.fail(GenerationError("late"))
    ticket.cancel()
    assert heard == [Delta(0, "a"), last]
    assert not ticket.is_cancelled


def test_cancelling_waits_for_a_callback_that_runs() -> None:
    inside, leave = threading.Event(), threading.Event()
    calls: list[str] = []

    def deliver(delta: Delta) -> None:
        inside.set()
        assert leave.wait(10)
        calls.append("delivered")

    ticket = Ticket(deliver, lambda error: None, ignore)
    sending = threading.Thread(target=ticket.send, args=(Delta(0, "a"),))
    sending.start()
    assert inside.wait(10)
    cancelling = threading.Thread(target=lambda: (ticket.cancel(), calls.append("cancelled")))
    cancelling.start()
    leave.set()
    sending.join(10)
    cancelling.join(10)
    assert calls == ["delivered", "cancelled"]


def test_whoever_registers_after_the_cancelling_hears_of_it() -> None:
    ticket = Ticket(lambda delta: None, lambda error: None, ignore)
    ticket.cancel()
    calls: list[int] = []
    ticket.on_cancel(lambda: calls.append(1))
    assert calls == [1]


@given(st.lists(st.integers(0, 1), max_size=40), st.lists(st.integers(0, 1), max_size=40))
def test_the_common_beginning_is_as_long_as_can_be(left: list[int], right: list[int]) -> None:
    length = common_length(left, right)
    assert left[:length] == right[:length]
    assert left[length : length + 1] != right[length : length + 1] or length == len(left) == len(right)
