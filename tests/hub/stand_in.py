"""A stand-in for the Hugging Face hub and its CDN: two HTTP/1.1 servers on loopback, in the test's process.

    with HubStandIn([Repo("org/model", {"model-Q4_K_M.gguf": path})]) as hub:
        hub.inject(Fault.drop("*Q4_K_M.gguf", after_bytes=5_000_000))
        subprocess.run(["localllm", "pull", "org/model"], env=hub.environment(home))
        assert hub.bytes_sent("*.gguf") < ...

`test_stand_in.py` shows that the stock client takes it for the hub.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from types import MappingProxyType, TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qs, quote, unquote

from tests.hub.answers import Answer, Call, FileAnswer, Transfer, parse_range, to_transfer
from tests.hub.api import HubApi
from tests.hub.cdn import CdnApi, Signatures
from tests.hub.faults import Fault, FaultPlan, Kind, Port, Situation
from tests.hub.repos import PIECE_BYTES, Blob, Content, ExtraEntry, Repo, to_blob
from tests.hub.request_log import Request, RequestLog, Throttle
from tests.hub.uploads import Uploads

__all__ = ["Blob", "ExtraEntry", "Fault", "HubStandIn", "Repo", "Request"]

_SEND_BUFFER_BYTES = 128 * 1024  # little is under way, so what was sent is nearly what was received
_PIECES_PER_SECOND = 50
_PATIENCE_SECONDS = 5
_FOREIGN_PREFIXES = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "XDG_", "TRANSFORMERS_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class HubStandIn:
    """The hub at `endpoint`, its CDN at `cdn`. Start it as a context manager.

    Attributes that may be set at any time:
        bytes_per_second: how fast bodies are sent; None is unlimited.
        shares_bandwidth: whether all transfers share that speed, or each has it.
        resolve_cache: small files are redirected to a relative address on the hub first, as the hub does.
        compresses_text: small files are gzipped in chunks for those who accept it, without a length.
        upload_bytes_per_second: how fast what is sent here is taken; None is unlimited.
    """

    def __init__(
        self,
        repos: Iterable[Repo] = (),
        *,
        files: Mapping[str, Content] = MappingProxyType({}),
        users: Mapping[str, str] = MappingProxyType({}),
        page_size: int = 1000,
    ) -> None:
        """
        Args:
            files: served by the CDN at /files/<name>; see `file_url`.
            users: names of the owners of valid tokens; the tokens of the repositories are valid anyway.
            page_size: how many entries of a listing one answer holds.
        """
        signatures = Signatures()
        self._hub_api = HubApi(tuple(repos), users, page_size, signatures)
        self._cdn_api = CdnApi(
            {name: to_blob(content) for name, content in files.items()}, signatures, self._hub_api.uploads
        )
        self._servers: dict[Port, _Server] = {}
        self._ports: dict[Port, int] = {"hub": 0, "cdn": 0}
        self.log = RequestLog()
        self.faults = FaultPlan()
        self.throttle = Throttle()
        self.errors: list[BaseException] = []
        self.bytes_per_second: float | None = None
        self.shares_bandwidth = True
        self.upload_bytes_per_second: float | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self.errors and error is None:
            raise AssertionError("the stand-in itself failed") from self.errors[0]

    def start(self) -> None:
        """Listen; after a stop, on the same ports as before."""
        for port in cast(Sequence[Port], ("hub", "cdn")):
            server = _Server(self, port, self._ports[port])
            self._ports[port] = server.server_address[1]
            self._servers[port] = server
        self._hub_api.endpoint, self._hub_api.cdn = self.endpoint, self.cdn
        self._hub_api.uploads.endpoint, self._hub_api.uploads.cdn = self.endpoint, self.cdn
        for server in self._servers.values():
            server.start()

    def stop(self) -> None:
        """Go away: refuse connections and cut the open ones."""
        while self._servers:
            self._servers.popitem()[1].stop()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['hub']}"

    @property
    def cdn(self) -> str:
        return f"http://127.0.0.1:{self._ports['cdn']}"

    def file_url(self, name: str) -> str:
        """The address of one of the plain files."""
        return f"{self.cdn}/files/{quote(name)}"

    def add_file(self, name: str, content: Content) -> str:
        """Serve one more plain file, or another content for one; return its address."""
        self._cdn_api.files[name] = to_blob(content)
        return self.file_url(name)

    @property
    def repos(self) -> dict[str, Repo]:
        """The repositories by name."""
        return {repo.name: repo for repo in self._hub_api.repos}

    def add_repo(self, repo: Repo) -> None:
        self._hub_api.repos.append(repo)

    @property
    def uploads(self) -> Uploads:
        """What was sent here."""
        return self._hub_api.uploads

    @property
    def resolve_cache(self) -> bool:
        return self._hub_api.resolve_cache

    @resolve_cache.setter
    def resolve_cache(self, value: bool) -> None:
        self._hub_api.resolve_cache = value

    @property
    def compresses_text(self) -> bool:
        return self._hub_api.compresses_text

    @compresses_text.setter
    def compresses_text(self, value: bool) -> None:
        self._hub_api.compresses_text = value

    def inject(self, *faults: Fault) -> None:
        """Let things go wrong; see `Fault`."""
        self.faults.add(*faults)

    def clear_faults(self) -> None:
        self.faults.clear()

    @property
    def pending_faults(self) -> list[Fault]:
        """The faults that are not used up."""
        return self.faults.pending

    @property
    def requests(self) -> list[Request]:
        """All requests since the log was cleared, those under way included."""
        return self.log.requests

    def clear_log(self) -> None:
        self.log.clear()

    def bytes_sent(self, path: str | None = None) -> int:
        """The body bytes sent so far, of all or of the paths that fit an fnmatch pattern.

        What was sent need not have been read: without a limit of the speed some 7 MB for each connection can
        wait in the kernel's buffers, with one nearly nothing.
        """
        return self.log.bytes_sent(path)

    @property
    def max_connections_seen(self) -> dict[Port, int]:
        """How many requests were under way at once, at most, on each port."""
        return self.log.most_in_flight

    def environment(self, home: Path, *, token: str | None = None) -> dict[str, str]:
        """The whole environment of a process that takes this for the hub; its cache: home/huggingface/hub."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_FOREIGN_PREFIXES) and name.lower() not in _PROXIES
        }
        own = {
            "HOME": str(home),
            "USERPROFILE": str(home),
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home / "huggingface"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }
        return inherited | own | ({"HF_TOKEN": token} if token else {})

    def answer(self, port: Port, call: Call) -> Answer | FileAnswer:
        return self._hub_api.answer(call) if port == "hub" else self._cdn_api.answer(call)

    def address(self, port: Port) -> str:
        return self.endpoint if port == "hub" else self.cdn


class _Server(ThreadingMixIn, TCPServer):
    """One of the two servers: a daemon thread for each connection, all of them gone after `stop`."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub: HubStandIn, port: Port, number: int) -> None:
        self.hub = hub
        self.port = port
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        super().__init__(("127.0.0.1", number), _Handler)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        self.stopping.set()
        with self._changed:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._connections, timeout=_PATIENCE_SECONDS)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.hub.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        super().setup()

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, *args: Any) -> None:
        pass  # the request log has it

    def _serve(self) -> None:
        hub, port = self.server.hub, self.server.port
        call = self._call()
        request = self._request(call)
        number = hub.log.begin(request)
        try:
            answer = hub.answer(port, call)
            fault = hub.faults.take(self._situation(call, request, answer))
            transfer = to_transfer(answer, call.headers, fault, hub.address(port) + self.path)
            hub.log.answered(number, transfer.status, fault.kind if fault else None)
            self._send_head(transfer)
            if call.method != "HEAD":
                self._send_body(transfer, number)
            self.close_connection |= transfer.must_close
        finally:
            hub.log.end(number, port)

    def _call(self) -> Call:
        raw_path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._body(int(headers.get("content-length", 0)))
        return Call(self.command, raw_path, parse_qs(query), headers, body)

    def _body(self, length: int) -> bytes:
        """Read what the client sends, no faster than that is taken."""
        speed = self.server.hub.upload_bytes_per_second
        if speed is None or self.command != "PUT":
            return self.rfile.read(length)
        body, throttle = bytearray(), Throttle()
        while len(body) < length:
            piece = self.rfile.read(min(length - len(body), max(256, int(speed / _PIECES_PER_SECOND))))
            if not piece:
                raise ConnectionAbortedError("the client went away")
            body += piece
            self._pause(throttle.seconds_to_wait(len(piece), speed))
        return bytes(body)

    def _request(self, call: Call) -> Request:
        return Request(
            method=call.method,
            path=unquote(call.raw_path),
            query=self.path.partition("?")[2],
            port=self.server.port,
            range=parse_range(call.headers.get("range")),
            status=0,
            body_bytes_sent=0,
            has_authorization="authorization" in call.headers,
            time=time.time(),
            fault=None,
            headers=MappingProxyType(dict(call.headers)),
            finished=False,
        )

    def _situation(self, call: Call, request: Request, answer: Answer | FileAnswer) -> Situation:
        return Situation(
            method=call.method,
            path=request.path,
            port=self.server.port,
            sends_file=call.method == "GET" and isinstance(answer, FileAnswer),
            has_range=request.range is not None,
            signature=call.query.get("Signature", [None])[0],
        )

    def _send_head(self, transfer: Transfer) -> None:
        self.send_response(transfer.status)
        for name, value in transfer.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_body(self, transfer: Transfer, number: int) -> None:
        throttle = self.server.hub.throttle if self.server.hub.shares_bandwidth else Throttle()
        pause_after = transfer.pause_after()
        sent = 0
        for chunk in transfer.pieces(self._piece_bytes()):
            self._wait_for_bandwidth(throttle, len(chunk))
            for part in _split(chunk, None if pause_after is None else pause_after - sent):
                if sent == pause_after and transfer.fault:
                    self._pause(transfer.fault.seconds)
                self._send(_framed(part) if transfer.chunked else part, number)
                sent += len(part)
        if transfer.chunked:
            self._send(b"0\r\n\r\n", number)
        if transfer.fault and transfer.fault.kind is Kind.DROP and transfer.fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _piece_bytes(self) -> int:
        speed = self.server.hub.bytes_per_second
        return PIECE_BYTES if speed is None else max(256, min(PIECE_BYTES, int(speed / _PIECES_PER_SECOND)))

    def _wait_for_bandwidth(self, throttle: Throttle, count: int) -> None:
        speed = self.server.hub.bytes_per_second
        if speed is not None:
            self._pause(throttle.seconds_to_wait(count, speed))

    def _pause(self, seconds: float) -> None:
        if self.server.stopping.wait(seconds):
            raise ConnectionAbortedError("the stand-in stops")

    def _send(self, data: bytes, number: int) -> None:
        """Send all, and count what has left in the same instant: who received bytes finds them in the log."""
        log = self.server.hub.log
        left = memoryview(data)
        self.connection.setblocking(False)
        try:
            while left:
                select.select([], [self.connection], [])
                with contextlib.suppress(BlockingIOError), log.lock:
                    count = self.connection.send(left)
                    log.sent(number, count)
                    left = left[count:]
        finally:
            self.connection.setblocking(True)


def _split(chunk: bytes, at: int | None) -> list[bytes]:
    if at is None or not 0 < at < len(chunk):
        return [chunk]
    return [chunk[:at], chunk[at:]]


def _framed(chunk: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(chunk), chunk)
