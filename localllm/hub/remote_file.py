"""One file on a server, read by ranges; the address that redirects end at is remembered for a while."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import httpx2

from localllm.errors import HubError
from localllm.hub.http import PassingError, endpoint, opened

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class RangesIgnoredError(Exception):
    """The server sends the whole file whatever range it is asked for."""


class ChangedError(Exception):
    """The file on the server is not the one whose first bytes came earlier."""


@dataclass(frozen=True)
class Body:
    """An answer on its way: bytes from where they were asked for. `validator` is the server's ETag, or ""."""

    response: httpx2.Response
    validator: str

    def __iter__(self) -> Iterator[bytes]:
        return self.response.iter_raw()


class RemoteFile:
    """A file at `url` of `size_bytes`; requests by several threads at once are fine."""

    def __init__(self, url: str, size_bytes: int) -> None:
        self.url = url
        self.size_bytes = size_bytes
        self._direct: str | None = None

    @contextmanager
    def read(self, start: int, end: int) -> Iterator[Body]:
        """Yield the bytes from `start` to before `end`; there may be fewer or more of them.

        Raise PassingError for what may pass, RangesIgnoredError, ChangedError when the file has another
        length now, HubError for the rest.
        """
        try:
            with opened(self._direct or self.url, span=(start, end)) as response:
                self._direct = str(response.url)
                self._require_range(response, start, end)
                yield Body(response, response.headers.get("etag", "").removeprefix("W/").strip('"'))
        except PassingError:
            self._direct = None
            raise

    def _require_range(self, response: httpx2.Response, start: int, end: int) -> None:
        is_whole = (start, end) == (0, self.size_bytes)
        if response.status_code == 200 and not is_whole:
            raise RangesIgnoredError
        if response.status_code == 200:
            self._require_length(response.headers.get("content-length"))
            return
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if response.status_code == 206 and match is not None:
            self._require_length(match[3])
            if int(match[1]) != start:
                raise RangesIgnoredError
            return
        raise ChangedError(f"range {start}-{end} is not to be had")

    def _require_length(self, stated: str | None) -> None:
        if stated is not None and stated != str(self.size_bytes):
            raise ChangedError(f"it is {stated} bytes long instead of {self.size_bytes}")


def hub_file(repo: str, commit: str, path: str, size_bytes: int) -> RemoteFile:
    """Return a file of a repository at a commit."""
    return RemoteFile(f"{endpoint()}/{repo}/resolve/{commit}/{quote(path)}", size_bytes)


def find_file(url: str) -> tuple[RemoteFile, str]:
    """Ask a server for a file's size and ETag. Raise HubError when it does not tell."""
    from localllm.hub.http import Patience

    patience = Patience(retries=2)
    while True:
        try:
            with opened(url, span=(0, 1)) as response:
                match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
                stated = match[3] if match else response.headers.get("content-length", "")
                if response.status_code not in (200, 206) or not stated.isdigit():
                    raise HubError(f"the server does not tell how long {url[:200]} is")
                return RemoteFile(url, int(stated)), response.headers.get("etag", "").strip('"')
        except PassingError as failure:
            patience.wait(failure)
