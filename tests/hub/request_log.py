"""What was asked of the stand-in and how much it really sent; and how fast it may send."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from tests.hub.faults import Port


@dataclass(frozen=True)
class Request:
    """One request as it stands now: status 0 means not answered yet."""

    method: str
    path: str  # decoded, without the query
    query: str
    port: Port
    range: tuple[int, int | None] | None  # as asked for, both ends included; (-n, None) are the last n bytes
    status: int
    body_bytes_sent: int
    has_authorization: bool
    time: float
    fault: str | None  # the kind of fault that befell it
    headers: Mapping[str, str]  # by lower-case name
    finished: bool


class RequestLog:
    """The requests in the order they came. Safe to use from several threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._requests: dict[int, Request] = {}
        self._next = 0
        self._in_flight: dict[Port, int] = {"hub": 0, "cdn": 0}
        self._most_in_flight: dict[Port, int] = {"hub": 0, "cdn": 0}

    def begin(self, request: Request) -> int:
        """Note a request that has come; return its number."""
        with self.lock:
            self._next += 1
            self._requests[self._next] = request
            self._in_flight[request.port] += 1
            self._most_in_flight[request.port] = max(
                self._most_in_flight[request.port], self._in_flight[request.port]
            )
            return self._next

    def answered(self, number: int, status: int, fault: str | None) -> None:
        with self.lock:
            self._change(number, status=status, fault=fault)

    def sent(self, number: int, count: int) -> None:
        """Add to the bytes sent. The caller holds the lock, so that nobody has read bytes not yet counted."""
        if number in self._requests:
            self._change(number, body_bytes_sent=self._requests[number].body_bytes_sent + count)

    def end(self, number: int, port: Port) -> None:
        with self.lock:
            self._in_flight[port] -= 1
            self._change(number, finished=True)

    def clear(self) -> None:
        with self.lock:
            self._requests.clear()
            self._most_in_flight = dict(self._in_flight)

    @property
    def requests(self) -> list[Request]:
        with self.lock:
            return list(self._requests.values())

    @property
    def most_in_flight(self) -> dict[Port, int]:
        with self.lock:
            return dict(self._most_in_flight)

    def bytes_sent(self, pattern: str | None = None) -> int:
        """The body bytes of all requests, or of those whose path fits an fnmatch pattern."""
        return sum(
            request.body_bytes_sent
            for request in self.requests
            if pattern is None or fnmatchcase(request.path, pattern)
        )

    def _change(self, number: int, **changes: object) -> None:
        if number in self._requests:
            self._requests[number] = replace(self._requests[number], **changes)  # type: ignore[arg-type]


class Throttle:
    """Lets bytes pass at a rate, over all who share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = 0.0

    def seconds_to_wait(self, count: int, bytes_per_second: float) -> float:
        """Reserve the time that so many bytes take; return how long to wait before sending them."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._free_at)
            self._free_at = start + count / bytes_per_second
            return start - now
