"""One request to a server at a time, which can be cut off from a signal handler.

The key goes to the server it is for and nowhere else: redirects are not followed, and no error shows it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx2

from localllm.errors import GenerationError, OfflineError
from localllm.remote.address import RemoteModel

_CONNECT_SECONDS = 10.0
_ASKING_SECONDS = 10.0
_SILENCE_SECONDS = 900.0  # reading a long prompt on a slow machine takes that long
_LONGEST_ANSWER_BYTES = 64 * 1024 * 1024
_LONGEST_REASON = 400  # characters
_OPENING = (".connect_tcp.complete", ".start_tls.complete")  # also through a proxy


class CutOffError(Exception):
    """The connection was cut off by `Connection.cut`."""


class RefusedError(Exception):
    """An answer that is no success: its status and what the server said."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Connection:
    """Requests to the server of a model, each on a connection of its own."""

    def __init__(self, model: RemoteModel, key: str | None) -> None:
        self._model = model
        self._key = key
        self._socket: socket.socket | None = None
        self._is_cut = False

    def renew(self) -> None:
        """Allow requests again after a cut."""
        self._is_cut = False

    def cut(self) -> None:
        """End the request under way, if there is one; safe from a signal handler."""
        self._is_cut = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def get(self, url: str) -> Any:
        """Return a JSON answer; None where there is none. Raise OfflineError, CutOffError."""
        try:
            with self._opened("GET", url, None, _ASKING_SECONDS) as response:
                return json.loads(_read(response))
        except (RefusedError, GenerationError, ValueError, RecursionError):
            return None

    @contextmanager
    def post(self, path: str, body: Mapping[str, Any]) -> Iterator[httpx2.Response]:
        """Yield an answer, its body unread.

        Raise RefusedError for one that is no success, OfflineError, CutOffError, and GenerationError when it
        breaks off.
        """
        with self._opened("POST", f"{self._model.base}{path}", body, _SILENCE_SECONDS) as response:
            yield response

    @contextmanager
    def _opened(
        self, method: str, url: str, body: Mapping[str, Any] | None, seconds: float
    ) -> Iterator[httpx2.Response]:
        timeout = httpx2.Timeout(seconds, connect=_CONNECT_SECONDS)
        proxied = not self._model.is_local
        with self._translated(), httpx2.Client(timeout=timeout, trust_env=proxied) as client:
            request = client.build_request(
                method, url, json=body, headers=self._headers(), extensions={"trace": self._note_socket}
            )
            response = client.send(request, stream=True, follow_redirects=False)
            try:
                if response.status_code != 200:
                    raise RefusedError(response.status_code, self._reason(response))
                yield response
            finally:
                self._socket = None
                response.close()

    def _headers(self) -> dict[str, str]:
        key = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return {"User-Agent": "localllm", "Accept": "text/event-stream, application/json", **key}

    def _note_socket(self, event: str, info: Mapping[str, Any]) -> None:
        """Keep the connection, so that `cut` finds it, as soon as there is one."""
        if event.endswith(_OPENING):
            self._socket = info["return_value"].get_extra_info("socket")
            if self._is_cut:
                self.cut()

    def _reason(self, response: httpx2.Response) -> str:
        """Return what an answer says of why it is no success, without the key should it repeat that."""
        text = _read(response).decode("utf-8", "replace")
        reason = error_text(text) or f"{response.status_code} {response.reason_phrase}".strip()
        return reason.replace(self._key, "…") if self._key else reason

    @contextmanager
    def _translated(self) -> Iterator[None]:
        host = self._model.host
        try:
            yield
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
            if self._is_cut:
                raise CutOffError from None
            if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
                raise OfflineError(
                    f"cannot reach {host}: {error}", hint="is the server running, and its address right?"
                ) from None
            if isinstance(error, httpx2.TimeoutException):
                raise GenerationError(f"{host} does not answer in time") from None
            raise GenerationError(f"{host}: {str(error) or 'the connection broke'}") from None


def _read(response: httpx2.Response) -> bytes:
    """Return the body of an answer, as far as it may be long."""
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _LONGEST_ANSWER_BYTES:
            break
    return bytes(body)


def read_json(response: httpx2.Response) -> Any:
    """Return a whole answer as JSON. Raise GenerationError."""
    try:
        return json.loads(_read(response))
    except (ValueError, RecursionError):
        raise GenerationError("the server answers with something else than JSON") from None


def error_text(text: str) -> str:
    """Return what an error in one of the usual forms says, in one line; "" for none of them."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return _one_line(text) if len(text) < _LONGEST_REASON and "<" not in text else ""
    for key in ("error", "detail", "message"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    return _one_line(found if isinstance(found, str) else json.dumps(found, ensure_ascii=False))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_REASON]
