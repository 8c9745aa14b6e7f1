"""From a request and what was found to what goes over the wire: ranges, conditions, faults of a body."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.hub.faults import Fault, Kind
from tests.hub.repos import PIECE_BYTES, Blob

ByteRange = tuple[int, int | None]

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_EXPIRED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>'
    b"<Message>Request has expired</Message></Error>"
)


@dataclass(frozen=True)
class Call:
    """A request, taken apart as far as the endpoints need it."""

    method: str
    raw_path: str  # still percent-encoded
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]  # by lower-case name
    body: bytes = b""

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[0].lower() in ("true", "1")

    def number(self, name: str, default: int) -> int:
        return int(self.query.get(name, [str(default)])[0])


@dataclass
class Answer:
    """A complete small answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class FileAnswer:
    """A file's bytes, to be sent whole or in part."""

    blob: Blob
    etag: str  # with its quotes
    headers: dict[str, str] = field(default_factory=dict)
    compressible: bool = False


@dataclass
class Transfer:
    """What is written to the socket, and how it goes wrong."""

    status: int
    headers: dict[str, str]
    blob: Blob
    start: int = 0
    stop: int = 0
    fault: Fault | None = None
    chunked: bool = False

    @property
    def must_close(self) -> bool:
        """Whether nothing can follow on the same connection."""
        return self.fault is not None and self.fault.kind in (Kind.DROP, Kind.WRONG_LENGTH)

    def pieces(self, piece: int = PIECE_BYTES) -> Iterator[bytes]:
        """Yield what is sent of the body."""
        stop = self.stop
        if self.fault and self.fault.kind is Kind.DROP:
            stop = min(stop, self.start + self.fault.after_bytes)
        position = self.start
        for chunk in self.blob.pieces(self.start, stop, piece=piece):
            yield _corrupted(chunk, position, self.fault)
            position += len(chunk)

    def pause_after(self) -> int | None:
        """After how many bytes of the body to fall silent."""
        return self.fault.after_bytes if self.fault and self.fault.kind is Kind.STALL else None


def json_answer(data: Any, **headers: str) -> Answer:
    content_type = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(200, json.dumps(data).encode(), content_type | headers)


def parse_range(header: str | None) -> ByteRange | None:
    """Read a Range header; one that is not understood is as good as none."""
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        return -int(last), None
    if last and int(last) < int(first):
        return None
    return int(first), int(last) if last else None


def to_transfer(
    answer: Answer | FileAnswer, request: Mapping[str, str], fault: Fault | None, own_url: str
) -> Transfer:
    """Decide what is sent for an answer, given the request's headers and what goes wrong."""
    replacement = _replaced(answer, fault, own_url)
    if replacement is not None:
        answer = replacement
    if isinstance(answer, Answer):
        transfer = Transfer(answer.status, dict(answer.headers), Blob(answer.body), 0, len(answer.body))
    else:
        transfer = _file_transfer(answer, request, fault)
    transfer.fault = fault
    _finish_headers(transfer, fault)
    return transfer


def _replaced(answer: Answer | FileAnswer, fault: Fault | None, own_url: str) -> Answer | None:
    if fault is None:
        return None
    match fault.kind:
        case Kind.ANSWER:
            headers = _only_set(fault.headers)
            if fault.status == 416 and isinstance(answer, FileAnswer):
                headers = {"Content-Range": f"bytes */{answer.blob.size}", **headers}
            return Answer(fault.status, fault.body or b"", headers)
        case Kind.REDIRECT_LOOP:
            return Answer(302, b"Found", {"Location": own_url})
        case Kind.EXPIRED_SIGNATURE:
            return Answer(403, _EXPIRED, {"Content-Type": "application/xml"})
    return None


def _file_transfer(answer: FileAnswer, request: Mapping[str, str], fault: Fault | None) -> Transfer:
    if fault and fault.kind is Kind.CHANGED_ETAG:
        blob = answer.blob if fault.body is None else Blob(fault.body)
        answer = replace(answer, blob=blob, etag=f'"{fault.etag}"', compressible=False)
    headers = {"ETag": answer.etag, "Accept-Ranges": "bytes", **answer.headers}
    asked = parse_range(request.get("range"))
    if request.get("if-range", answer.etag) != answer.etag:
        asked = None
    if asked is None or (fault and fault.kind is Kind.IGNORE_RANGE):
        if answer.compressible and "gzip" in request.get("accept-encoding", ""):
            return _compressed(answer, headers)
        return Transfer(200, headers, answer.blob, 0, answer.blob.size)
    return _part(answer.blob, headers, asked, fault)


def _part(blob: Blob, headers: dict[str, str], asked: ByteRange, fault: Fault | None) -> Transfer:
    first, last = asked
    start = max(0, blob.size + first) if first < 0 else first
    if start >= blob.size:
        headers = {"Content-Range": f"bytes */{blob.size}", "Content-Type": "text/plain"}
        message = b"Range Not Satisfiable"
        return Transfer(416, headers, Blob(message), 0, len(message))
    stop = blob.size if last is None else min(blob.size, last + 1)
    if fault and fault.kind is Kind.WRONG_RANGE:
        shift = max(-start, min(fault.offset, blob.size - stop))
        start, stop = start + shift, stop + shift
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{blob.size}"
    return Transfer(206, headers, blob, start, stop)


def _compressed(answer: FileAnswer, headers: dict[str, str]) -> Transfer:
    packed = gzip.compress(b"".join(answer.blob.pieces()), mtime=0)
    headers |= {"ETag": f"W/{answer.etag}", "Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}
    del headers["Accept-Ranges"]
    return Transfer(200, headers, Blob(packed), 0, len(packed), chunked=True)


def _finish_headers(transfer: Transfer, fault: Fault | None) -> None:
    headers = transfer.headers
    headers.setdefault("Content-Type", "application/octet-stream")
    if not transfer.chunked:
        length = transfer.stop - transfer.start
        if fault and fault.kind is Kind.WRONG_LENGTH:
            length = max(0, length + fault.length)
        headers.setdefault("Content-Length", str(length))
    if transfer.must_close and fault and fault.kind is not Kind.DROP:
        headers["Connection"] = "close"
    if fault and fault.kind is Kind.HEADERS:
        lower = {name.lower() for name in fault.headers}
        kept = {name: value for name, value in headers.items() if name.lower() not in lower}
        transfer.headers = kept | _only_set(fault.headers)


def _only_set(headers: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if value is not None}


def _corrupted(chunk: bytes, position: int, fault: Fault | None) -> bytes:
    if fault is None or fault.kind is not Kind.CORRUPT:
        return chunk
    start = max(0, fault.offset - position)
    stop = min(len(chunk), fault.offset + fault.length - position)
    if start >= stop:
        return chunk
    return chunk[:start] + bytes(255 - byte for byte in chunk[start:stop]) + chunk[stop:]
