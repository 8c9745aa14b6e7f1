"""Sends an answer: as JSON at once, or piece by piece as server-sent events."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from localllm.errors import LocalLLMError
from localllm.server.api_error import SERVER, ApiError, api_error_of
from localllm.server.serving import Body, Events

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_END = b"data: [DONE]\n\n"
_log = logging.getLogger(__name__)
_EVENT_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # proxies would wait for the end otherwise
}


async def send_events(events: Events, send: Send) -> None:
    """Send what `events` yields. What fails before the first raises; what fails later is told as an event."""
    first = await anext(events)
    await _start(send, 200, _EVENT_HEADERS)
    await _more(send, _event(first))
    try:
        async for body in events:
            await _more(send, _event(body))
        await _more(send, _END)
    except (ApiError, LocalLLMError) as error:
        await _more(send, _event(as_api_error(error).body()))
    except Exception:
        _log.exception("an answer failed while it was sent")
        await _more(send, _event(internal_error().body()))
    await send({"type": "http.response.body", "body": b""})


async def send_json(body: Body, send: Send, status: int = 200, headers: dict[str, str] | None = None) -> None:
    """Send one JSON object."""
    content = _json(body)
    length = {"content-type": "application/json", "content-length": str(len(content))}
    await _start(send, status, {**length, **(headers or {})})
    await send({"type": "http.response.body", "body": content})


async def send_error(error: ApiError, send: Send) -> None:
    """Send an error in the API's shape."""
    await send_json(error.body(), send, error.status, error.headers)


def as_api_error(error: ApiError | LocalLLMError) -> ApiError:
    return error if isinstance(error, ApiError) else api_error_of(error)


def internal_error() -> ApiError:
    """Return what a client is told of a bug in the server: the rest is in the log."""
    return ApiError(500, "the server failed", kind=SERVER, code="internal_error")


def _event(body: Body) -> bytes:
    return b"data: " + _json(body) + b"\n\n"


def _json(body: Body) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def _more(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})
