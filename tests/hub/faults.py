"""What can go wrong on the way: one fault per request, the first in order that fits and is not used up."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal

Port = Literal["hub", "cdn"]

HTML_PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please sign in</body></html>\n"


class Kind(StrEnum):
    DROP = "drop"
    STALL = "stall"
    CORRUPT = "corrupt"
    IGNORE_RANGE = "ignore range"
    WRONG_LENGTH = "wrong length"
    WRONG_RANGE = "wrong range"
    CHANGED_ETAG = "changed etag"
    ANSWER = "answer"
    HEADERS = "headers"
    REDIRECT_LOOP = "redirect loop"
    EXPIRED_SIGNATURE = "expired signature"


_IN_A_BODY = {
    Kind.DROP,
    Kind.STALL,
    Kind.CORRUPT,
    Kind.IGNORE_RANGE,
    Kind.WRONG_LENGTH,
    Kind.WRONG_RANGE,
    Kind.CHANGED_ETAG,
}


@dataclass(frozen=True)
class Situation:
    """What a fault is chosen by."""

    method: str
    path: str
    port: Port
    sends_file: bool  # a GET that is answered with a file's bytes, not with a redirect
    has_range: bool
    signature: str | None = None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong. `path` is an fnmatch pattern for the decoded path of the request.

    Faults of a body (drop, stall, corrupt, …) befall only the requests that are answered with a file's
    bytes, so neither a HEAD nor the redirect to the CDN uses them up; `ignore_range`, `wrong_range` and
    `range_not_satisfiable` only those of them that ask for a range. All others befall every request that
    fits, also HEAD.
    `limited` narrows any of them to a method or a port, or lets the first requests pass.
    """

    kind: Kind
    path: str
    times: int | None = 1  # None: always
    method: str | None = None
    port: Port | None = None
    skip: int = 0
    with_range_only: bool = False
    after_bytes: int = 0
    seconds: float = 0
    offset: int = 0
    length: int = 0
    reset: bool = False
    etag: str | None = None
    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))

    def limited(self, *, method: str | None = None, port: Port | None = None, skip: int = 0) -> Fault:
        """The same fault for one method or port only, or after `skip` requests that fit have passed."""
        return replace(self, method=method or self.method, port=port or self.port, skip=skip)

    @classmethod
    def drop(cls, path: str, after_bytes: int, times: int | None = 1, *, reset: bool = False) -> Fault:
        """Close the connection after so many bytes of the body; `reset`: with a TCP reset."""
        return cls(kind=Kind.DROP, path=path, times=times, after_bytes=after_bytes, reset=reset)

    @classmethod
    def stall(cls, path: str, seconds: float, after_bytes: int = 0, times: int | None = 1) -> Fault:
        """Fall silent after so many bytes of the body, then go on."""
        return cls(kind=Kind.STALL, path=path, times=times, after_bytes=after_bytes, seconds=seconds)

    @classmethod
    def corrupt(cls, path: str, offset: int, length: int = 1, times: int | None = 1) -> Fault:
        """Invert bytes at an offset of the file; the length stays right."""
        return cls(kind=Kind.CORRUPT, path=path, times=times, offset=offset, length=length)

    @classmethod
    def ignore_range(cls, path: str, times: int | None = 1) -> Fault:
        """Answer 200 with the whole file."""
        return cls(kind=Kind.IGNORE_RANGE, path=path, times=times, with_range_only=True)

    @classmethod
    def wrong_range(cls, path: str, shift: int, times: int | None = 1) -> Fault:
        """Answer 206 with a range of the same length that starts `shift` bytes elsewhere, and say so."""
        return cls(kind=Kind.WRONG_RANGE, path=path, times=times, offset=shift, with_range_only=True)

    @classmethod
    def wrong_length(cls, path: str, difference: int, times: int | None = 1) -> Fault:
        """State a Content-Length that is too long (positive) or too short (negative); close afterwards."""
        return cls(kind=Kind.WRONG_LENGTH, path=path, times=times, length=difference)

    @classmethod
    def changed_etag(
        cls,
        path: str,
        *,
        content: bytes | None = None,
        etag: str = "changed",
        skip: int = 0,
        times: int | None = None,
    ) -> Fault:
        """Serve the bytes under another ETag (so an If-Range fails), or other bytes with it."""
        return cls(kind=Kind.CHANGED_ETAG, path=path, times=times, etag=etag, body=content, skip=skip)

    @classmethod
    def answer(
        cls,
        path: str,
        status: int,
        body: bytes = b"",
        headers: Mapping[str, str | None] = MappingProxyType({}),
        times: int | None = 1,
    ) -> Fault:
        """Answer this, whatever was asked."""
        return cls(kind=Kind.ANSWER, path=path, times=times, status=status, body=body, headers=headers)

    @classmethod
    def server_error(cls, path: str, status: int = 503, times: int | None = 1) -> Fault:
        """Answer 500, 502, 503 or 504."""
        return cls.answer(path, status, b"Internal Error - We're working hard to fix this", times=times)

    @classmethod
    def too_many_requests(cls, path: str, retry_after: int | str = 0, times: int | None = 1) -> Fault:
        """Answer 429 with Retry-After."""
        headers = {"Retry-After": str(retry_after), "Content-Type": "application/json"}
        return cls.answer(path, 429, b'{"error":"Too many requests"}', headers, times)

    @classmethod
    def range_not_satisfiable(cls, path: str, times: int | None = 1) -> Fault:
        """Answer a request for a range with 416."""
        answer = cls.answer(path, 416, b"Range Not Satisfiable", {"Content-Type": "text/plain"}, times)
        return replace(answer, with_range_only=True)

    @classmethod
    def html_page(cls, path: str, times: int | None = 1) -> Fault:
        """Answer 200 with a page, as a captive portal does."""
        return cls.answer(path, 200, HTML_PAGE, {"Content-Type": "text/html; charset=utf-8"}, times)

    @classmethod
    def replaced_headers(
        cls, path: str, headers: Mapping[str, str | None], times: int | None = None
    ) -> Fault:
        """Set headers of the right answer, or with None leave them out: hostile ETags, commits, locations."""
        return cls(kind=Kind.HEADERS, path=path, times=times, headers=headers)

    @classmethod
    def redirect_loop(cls, path: str, times: int | None = None) -> Fault:
        """Redirect each request to its own address."""
        return cls(kind=Kind.REDIRECT_LOOP, path=path, times=times)

    @classmethod
    def expired_signature(cls, path: str, times: int | None = 1) -> Fault:
        """Let the CDN refuse (403) the address a file was resolved to, until it is resolved anew.

        `times` counts the addresses, not the requests.
        """
        return cls(kind=Kind.EXPIRED_SIGNATURE, path=path, times=times, port="cdn")

    def fits(self, situation: Situation) -> bool:
        """Whether it befalls such a request, regardless of how often it did."""
        return (
            fnmatchcase(situation.path, self.path)
            and self.method in (None, situation.method)
            and self.port in (None, situation.port)
            and (situation.sends_file or not (self.kind in _IN_A_BODY or self.with_range_only))
            and (situation.has_range or not self.with_range_only)
            and (situation.signature is not None or self.kind is not Kind.EXPIRED_SIGNATURE)
        )


@dataclass
class _Pending:
    fault: Fault
    skip: int
    left: int | None

    def take(self) -> bool:
        if self.skip:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True


class FaultPlan:
    """The faults that are still to come. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[_Pending] = []
        self._expired: dict[str, Fault] = {}

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._pending += [_Pending(fault, fault.skip, fault.times) for fault in faults]

    def clear(self) -> None:
        with self._lock:
            self._pending.clear()
            self._expired.clear()

    @property
    def pending(self) -> list[Fault]:
        """Those that are not used up: a test can show that what it injected did happen."""
        with self._lock:
            return [pending.fault for pending in self._pending if pending.left != 0]

    def take(self, situation: Situation) -> Fault | None:
        """Choose what goes wrong with a request, and count it."""
        with self._lock:
            if situation.signature in self._expired:
                return self._expired[situation.signature]
            for pending in self._pending:
                if pending.left != 0 and pending.fault.fits(situation) and pending.take():
                    if pending.fault.kind is Kind.EXPIRED_SIGNATURE and situation.signature:
                        self._expired[situation.signature] = pending.fault
                    return pending.fault
        return None
