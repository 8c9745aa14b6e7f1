"""Connections on which no request comes: they do not stay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from uvicorn.server import ServerState

from localllm.server import protocol

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def app(scope: dict[str, object], receive: object, send: Callable[..., Awaitable[None]]) -> None:
    if scope["path"] == "/slow":
        await asyncio.sleep(1.2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def run(talk: Talk, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.2) -> None:
    """Talk to a server that waits so long for a head."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", seconds)

    async def test() -> None:
        config = uvicorn.Config(app, http=protocol.Protocol, ws="none", lifespan="off", log_config=None)  # type: ignore[arg-type]
        config.load()
        loop = asyncio.get_running_loop()
        state = ServerState()
        server = await loop.create_server(
            lambda: protocol.Protocol(config, state, app_state={}), "127.0.0.1", 0
        )
        try:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            async with asyncio.timeout(30):
                await talk(reader, writer)
            writer.close()
            await writer.wait_closed()
        finally:
            server.close()
            await server.wait_closed()

    asyncio.run(test())


async def answered(reader: asyncio.StreamReader) -> None:
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert await reader.readexactly(2) == b"ok"


@pytest.mark.parametrize("head", [b"", b"G", GET[:-2]])
def test_a_head_that_does_not_come_ends_the_connection(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        assert await reader.read() == b""

    run(talk, monkeypatch)


def test_bytes_that_trickle_in_do_not_buy_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trickling = asyncio.create_task(trickle(writer))
        assert await reader.read() == b""
        trickling.cancel()

    async def trickle(writer: asyncio.StreamWriter) -> None:
        for byte in GET[:-2]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    run(talk, monkeypatch)


def test_requests_in_a_row_have_their_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between requests a connection may rest, and an answer may take its time."""
    slow = GET.replace(b"/health", b"/slow")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for asked, pause in ((GET, 0), (slow, 1.2), (GET, 0)):
            await asyncio.sleep(pause)
            writer.write(asked[:10])
            await asyncio.sleep(0.01)
            writer.write(asked[10:])
            await answered(reader)
        writer.write(GET[:10])
        assert await reader.read() == b""

    run(talk, monkeypatch, seconds=1)
