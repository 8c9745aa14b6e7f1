"""Requests while an engine works on them: from its thread to the event loop, and back to stop them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Self

from localllm.batching import Delta, GenerationRequest, Ticket, Usage
from localllm.engine import FinishReason
from localllm.errors import LocalLLMError
from localllm.server.api_error import shutting_down
from localllm.server.engines import Engine

Arrival = tuple[int, Delta | LocalLLMError]


class Generation:
    """What an engine says to requests, each known by a number.

    Use as a context manager: leaving it stops what is still running, at once. `count` is told what each
    request took.
    """

    def __init__(self, count: Callable[[Usage], None]) -> None:
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Arrival] = asyncio.Queue()
        self._tickets: list[Ticket] = []
        self._running: set[int] = set()
        self._left = False

    async def begin(self, engine: Engine, request: GenerationRequest, number: int = 0) -> None:
        """Hand `request` to `engine`. Raise what that raises when it does not take it."""

        def deliver(arrived: Delta | LocalLLMError) -> None:
            self._deliver((number, arrived))

        self._running.add(number)
        submitted = asyncio.ensure_future(asyncio.to_thread(engine.submit, request, deliver, deliver))
        submitted.add_done_callback(self._submitted)
        await asyncio.shield(submitted)

    async def deltas(self) -> AsyncIterator[tuple[int, Delta]]:
        """Yield what comes with the number of its request, until all have ended.

        Raise LocalLLMError, ApiError.
        """
        while self._running:
            number, arrived = await self._arrived.get()
            if isinstance(arrived, LocalLLMError):
                raise arrived
            if arrived.finish_reason is FinishReason.INTERRUPTED:
                raise shutting_down()
            if arrived.usage is not None:
                self._running.discard(number)
                self._count(arrived.usage)
            yield number, arrived

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        for ticket in self._tickets:
            ticket.cancel()

    def _submitted(self, submitted: asyncio.Future[Ticket]) -> None:
        """Keep the ticket; when nobody waits for it any more, give it back."""
        if submitted.cancelled() or submitted.exception() is not None:
            return
        self._tickets.append(submitted.result())
        if self._left:
            self._tickets[-1].cancel()

    def _deliver(self, arrival: Arrival) -> None:
        """Take what comes from the engine's thread, which must never see an error of ours."""
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, arrival)
