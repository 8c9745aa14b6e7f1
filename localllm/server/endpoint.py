"""One address that is asked with JSON: reads the request, answers it, and stops when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack, aclosing, suppress

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from localllm.server.events import send_events, send_json
from localllm.server.json_body import ClientLeft, read_json
from localllm.server.serving import Handler, Serving


class Endpoint:
    """An ASGI application around a handler. Raise ApiError, LocalLLMError while nothing was sent."""

    def __init__(self, handler: Handler, serving: Serving, max_body_bytes: int) -> None:
        self._handler = handler
        self._serving = serving
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientLeft):
            body = await read_json(Headers(scope=scope), receive, self._max_body_bytes)
            await _unless_client_leaves(self._answer(body, send), receive)

    async def _answer(self, body: dict[str, object], send: Send) -> None:
        async with AsyncExitStack() as stack:
            answer = await self._handler(self._serving, body, stack)
            if isinstance(answer, dict):
                await send_json(answer, send)
            else:
                async with aclosing(answer):
                    await send_events(answer, send)


async def _unless_client_leaves(work: Coroutine[None, None, None], receive: Receive) -> None:
    """Wait for `work`, but cancel it when the connection is closed before."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeft
        working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
