"""Stands in front of everything: who may ask, how errors look, what is counted and logged."""

from __future__ import annotations

import logging
import time

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localllm.control_filter import clean
from localllm.errors import LocalLLMError
from localllm.server.api_error import ApiError
from localllm.server.events import as_api_error, internal_error, send_error
from localllm.server.host_names import HostNames
from localllm.server.keys import Keys
from localllm.server.metrics import Metrics
from localllm.server.settings import MAX_HEADER_BYTES

HEALTH = "/health"
_MODEL = "/v1/models/"
_MOST_LOGGED = 200
_log = logging.getLogger(__name__)


class HostGate:
    """Refuses requests for other names than the server's own; counts and logs every request."""

    def __init__(self, app: ASGIApp, hosts: HostNames, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.monotonic()
        status = 499  # the client left before there was one

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(scope, receive, noting)
            else:
                await send_error(refusal, noting)
        finally:
            self._metrics.answered(self._known(scope["path"]), status)
            _log.info(
                "%s %s %s %d %.0f ms",
                (scope.get("client") or ("-",))[0],
                *(_one_line(scope[name]) for name in ("method", "path")),
                status,
                (time.monotonic() - started) * 1000,
            )

    def _refusal(self, scope: Scope) -> ApiError | None:
        """Return why a request is refused by its headers alone."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            return ApiError(
                431, f"the headers are larger than {MAX_HEADER_BYTES} bytes", code="headers_too_large"
            )
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
            return ApiError(400, "the length of the body is given twice", code="ambiguous_length")
        if not self._hosts.include(Headers(scope=scope).get("host", "")):
            why = "this server does not go by the name in the Host header"
            return ApiError(403, why, code="host_not_allowed")
        return None

    def _known(self, path: str) -> str:
        """Return the path as it is counted: a stranger cannot make up new ones."""
        if path in self._paths:
            return path
        return f"{_MODEL}{{id}}" if path.startswith(_MODEL) else "other"


class ErrorGate:
    """Answers in the API's shape whatever goes wrong inside; a bug ends its request, not the server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        scope["app"] = self  # has routes raise their errors
        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            answer = _as_answer(error)
            if has_begun:
                raise
            await send_error(answer, noting)


class KeyGate:
    """Refuses requests without a key, except for the server's health."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != HEALTH:
            scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not self._keys.know(key.strip()):
                raise ApiError(
                    401,
                    "the API key is wrong"
                    if key
                    else "this server needs an API key: `Authorization: Bearer KEY`",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        await self._app(scope, receive, send)


def _as_answer(error: Exception) -> ApiError:
    if isinstance(error, ApiError | LocalLLMError):
        return as_api_error(error)
    if isinstance(error, HTTPException):
        said = "there is nothing at this address" if error.status_code == 404 else error.detail.lower()
        return ApiError(error.status_code, said, code="not_found", headers=error.headers)
    _log.error("a request failed", exc_info=error)
    return internal_error()


def _one_line(text: str) -> str:
    """Return what a client sent as a line's part that steers no terminal."""
    return clean(text[:_MOST_LOGGED]).replace("\n", " ").replace("\t", " ")
