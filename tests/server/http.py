"""Talks to a server below the level of clients: raw requests, connections that are dropped, counters."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.server.conftest import Server


@contextmanager
def connection(server: Server) -> Iterator[socket.socket]:
    """Yield a connection to the server."""
    address = urlsplit(server.url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80), timeout=60) as opened:
        yield opened


def request(body: dict[str, Any] | bytes, path: str = "/v1/chat/completions", **headers: str) -> bytes:
    """Return the bytes of a POST of JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {
        "Host": "localhost",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


def answered(opened: socket.socket) -> tuple[int, bytes]:
    """Return the status of the answer and what comes up to its end, by its length or the connection's end."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(opened)
    head, _, body = data.partition(b"\r\n\r\n")
    named = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(named.get(b"content-length", b"0"))
    while len(body) < length:
        body += _received(opened)
    return int(head.split()[1]), body


def exchange(server: Server, data: bytes) -> tuple[int, bytes]:
    """Send bytes on a connection of their own and return status and body of the answer."""
    with connection(server) as opened:
        opened.sendall(data)
        return answered(opened)


def counter(server: Server, name: str, key: str = "none", labels: str = "") -> float:
    """Return the sum of a metric's values where `labels` is among the labels."""
    asked = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"
    _, text = exchange(server, asked.encode())
    lines = [line for line in text.decode().splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if labels in line)


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is true; fail when it never is."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def _received(opened: socket.socket) -> bytes:
    data = opened.recv(65536)
    assert data, "the connection ended early"
    return data
