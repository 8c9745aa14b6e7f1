"""Requests to the hub and to the servers it sends us to: redirects, the token, errors, waiting.

The token goes to the hub's own address and nowhere else, whatever a redirect says. Connections come from
huggingface_hub's session, so that proxies and certificates set up for it work here too.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
from huggingface_hub import constants, get_session, get_token
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils._http import parse_ratelimit_headers

from localllm.errors import HubError, OfflineError
from localllm.hub.failures import refusal

RETRIES = 5
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 8.0
_LONGEST_WAIT_SECONDS = 120.0  # what a server may ask for
_CONNECT_SECONDS = 10.0
_MAX_REDIRECTS = 5
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_LATER = "run it again later: what has arrived is kept"


class PassingError(Exception):
    """A failure that may pass: `error` if it does not; `seconds` is what the server asks to wait."""

    def __init__(self, error: HubError, seconds: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.seconds = seconds


class Patience:
    """Waits between tries, longer each time; whatever arrives makes it new."""

    def __init__(self, stop: threading.Event | None = None, retries: int = RETRIES) -> None:
        self._stop = stop or threading.Event()
        self._retries = retries
        self._tries = 0

    def renew(self) -> None:
        self._tries = 0

    def wait(self, failure: PassingError) -> None:
        """Wait before the next try. Raise the failure's HubError when there were enough."""
        self._tries += 1
        if self._tries > self._retries or (failure.seconds or 0) > _LONGEST_WAIT_SECONDS:
            raise failure.error
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (self._tries - 1))
        self._stop.wait(max(pause, failure.seconds or 0))


def endpoint() -> str:
    """Return the address of the hub, without a slash at its end (HF_ENDPOINT)."""
    return str(constants.ENDPOINT)


@contextmanager
def opened(url: str, *, span: tuple[int, int] | None = None) -> Iterator[httpx2.Response]:
    """Yield the answer of whoever finally answers a request, its body unread; `span` is a range of bytes.

    Raise PassingError for what may pass, a HubError for the rest.
    """
    response = _answer(url, span)
    try:
        with _translated(url):
            yield response
    finally:
        response.close()


def get_json(url: str) -> tuple[Any, Mapping[str, str]]:
    """Return a JSON answer and its headers. Raise HubError, OfflineError at once."""
    patience = Patience()
    while True:
        try:
            with opened(url) as response:
                response.read()
                return response.json(), response.headers
        except PassingError as failure:
            if isinstance(failure.error, OfflineError):
                raise failure.error from None
            patience.wait(failure)
        except ValueError:
            raise HubError(f"{_host(url)} answers with something else than JSON") from None


def _answer(url: str, span: tuple[int, int] | None) -> httpx2.Response:
    for _ in range(_MAX_REDIRECTS):
        with _translated(url):
            request = _request(url, span)
            response = get_session().send(request, stream=True, follow_redirects=False)
        if response.status_code in _REDIRECTS and "location" in response.headers:
            response.close()
            url = urljoin(url, response.headers["location"])
            if urlsplit(url).scheme not in ("http", "https"):
                raise HubError(f"the hub sends us to `{url[:80]}`, which is no web address")
            continue
        if response.status_code < 300 or response.status_code == 416:
            return response
        with closing(response), _translated(url):
            raise _failure(response, url)
    raise HubError(f"{_host(url)} sends us round in circles", hint=_LATER)


def _request(url: str, span: tuple[int, int] | None) -> httpx2.Request:
    headers = {"User-Agent": _user_agent(), "Accept-Encoding": "identity"}
    token = get_token() if _is_hub(url) and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else None
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if span is not None:
        headers["Range"] = f"bytes={span[0]}-{span[1] - 1}"
    seconds = httpx2.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT, connect=_CONNECT_SECONDS, pool=None)
    return get_session().build_request("GET", url, headers=headers, timeout=seconds)


@functools.cache
def _user_agent() -> str:
    from importlib.metadata import PackageNotFoundError, version

    with suppress(PackageNotFoundError):
        return f"localllm/{version('localllm')}"
    return "localllm"


def _failure(response: httpx2.Response, url: str) -> Exception:
    """Return what an answer that is no success means."""
    status = response.status_code
    if status in _PASSING:
        asked = _asked_to_wait(response.headers)
        wait = f" and asks to wait {asked:.0f} seconds" if asked and asked > _LONGEST_WAIT_SECONDS else ""
        answer = f"{_host(url)} answers {status} {response.reason_phrase}".rstrip()
        return PassingError(HubError(answer + wait, hint=_LATER), asked)
    response.read()
    refused = refusal(response, _host(url))
    if _is_hub(url) or not isinstance(refused, HubError):
        return refused
    return PassingError(refused)  # the link the hub gave may have had its time: it gives a new one


def _asked_to_wait(headers: Mapping[str, str]) -> float | None:
    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    text = headers.get("retry-after", "")
    if text.isdigit():
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Turn what goes wrong on the way into a PassingError or an OfflineError."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise OfflineError(
            f"this needs {_host(url)}, but HF_HUB_OFFLINE is set",
            hint="unset it, or use what is on this machine: `localllm list`",
        ) from None
    except httpx2.ConnectError as error:
        raise PassingError(_unreachable(url, str(error))) from None
    except httpx2.TimeoutException:
        raise PassingError(HubError(f"{_host(url)} does not answer in time", hint=_LATER)) from None
    except httpx2.UnsupportedProtocol as error:
        raise HubError(f"cannot read {url[:200]}: {error}") from None
    except httpx2.InvalidURL:
        raise HubError(f"`{url[:200]}` is no web address") from None
    except (httpx2.TransportError, httpx2.StreamError) as error:
        reason = str(error) or "the connection broke"
        raise PassingError(HubError(f"{_host(url)}: {reason}", hint=_LATER)) from None


def _unreachable(url: str, reason: str) -> OfflineError:
    return OfflineError(
        f"cannot reach {_host(url)}: {reason}",
        hint="check the connection; what is on this machine works without it: `localllm list`",
    )


def _is_hub(url: str) -> bool:
    return _origin(url) == _origin(endpoint())


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return parts.scheme, (parts.hostname or "").lower(), port


def _host(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or url[:80]
