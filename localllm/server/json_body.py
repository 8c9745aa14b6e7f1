"""Reads the JSON of a request: no more of it than allowed, and nothing that JSON does not have."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pydantic_core import from_json
from starlette.datastructures import Headers

from localllm.server.api_error import ApiError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

STALL_SECONDS = 30.0  # how long a client may be silent in the middle of its request
_JSON = "application/json"


class ClientLeft(Exception):  # noqa: N818 (no error: people change their minds)
    """The client closed its connection before it had its answer."""


async def read_json(headers: Headers, receive: Receive, max_bytes: int) -> dict[str, Any]:
    """Return the object in the body. Raise ApiError for anything else, ClientLeft."""
    kind, _, parameters = headers.get("content-type", "").partition(";")
    if kind.strip().lower() != _JSON or not _is_utf8(parameters):
        raise ApiError(415, f"the body must be JSON: send `Content-Type: {_JSON}`", code="wrong_content_type")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ApiError(415, "compressed bodies are not supported", code="wrong_content_encoding")
    return parse_json(await _read(headers, receive, max_bytes))


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the object that `body` is. Raise ApiError for what is none.

    NaN, infinite numbers, lone surrogates and nesting without an end are no JSON.
    """
    try:
        found = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(found, dict):
        raise ApiError(400, "the body is not a JSON object", code="invalid_json")
    if not _is_finite(found):
        raise ApiError(400, "the body has a number that is too large", code="invalid_json")
    return found


async def _read(headers: Headers, receive: Receive, max_bytes: int) -> bytes:
    announced = headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    while True:
        try:
            message = await asyncio.wait_for(receive(), STALL_SECONDS)
        except TimeoutError:
            raise ApiError(408, "the rest of the request did not come", code="timeout") from None
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return bytes(body)


def _is_finite(value: Any) -> bool:
    """Whether there is no infinity in it, as 1e999 becomes; the parser has limited the nesting."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(413, f"the body is larger than {max_bytes} bytes", code="body_too_large")


def _is_utf8(parameters: str) -> bool:
    """Whether the parameters of a content type name no other encoding."""
    pairs = [part.partition("=") for part in parameters.lower().split(";")]
    named = [value.strip().strip('"') for name, _, value in pairs if name.strip() == "charset"]
    return all(name in ("utf-8", "utf8") for name in named)
