"""What the stand-in sends byte by byte: ranges, conditions, the log, and each fault."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.hub.stand_in import Blob, ExtraEntry, Fault, HubStandIn, Repo

SMALL = bytes(range(100))
LARGE = random.Random(7).randbytes(300_000)
SHA256 = hashlib.sha256(LARGE).hexdigest()
SMALL_PATH = "/org/model/resolve/main/config.json"
LARGE_PATH = "/org/model/resolve/main/m.gguf"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    error: str | None = None  # what ended the body too early


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    with HubStandIn([Repo("org/model", {"config.json": SMALL, "m.gguf": LARGE})]) as hub:
        yield hub


def ask(url: str, method: str = "GET", timeout: float = 20, **headers: str) -> Reply:
    """Ask once, on a connection of its own, without following redirects."""
    with contextlib.closing(connect(url, timeout)) as connection:
        return reply(connection, url, method, **headers)


def connect(url: str, timeout: float = 20) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)


def reply(connection: http.client.HTTPConnection, url: str, method: str = "GET", **headers: str) -> Reply:
    address = urlsplit(url)
    target = address.path + (f"?{address.query}" if address.query else "")
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, target, headers=fields)
    with connection.getresponse() as response:
        found = {name.lower(): value for name, value in response.headers.items()}
        body, error = bytearray(), None
        try:
            while piece := response.read1(65536):
                body += piece
            if response.length:
                error = "IncompleteRead"  # read1 does not say so
        except OSError as failure:
            error = type(failure).__name__
        return Reply(response.status, found, bytes(body), error)


def resolve(hub: HubStandIn, path: str = LARGE_PATH) -> str:
    """Return the address on the CDN."""
    return ask(hub.endpoint + path, "HEAD").headers["location"]


def wait_until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up, "it never came"
        time.sleep(0.005)


# How it answers when nothing goes wrong


def test_the_head_of_a_small_file(hub: HubStandIn) -> None:
    found = ask(hub.endpoint + SMALL_PATH, "HEAD")
    assert found.status == 200
    assert found.body == b""
    assert found.headers["content-length"] == "100"
    assert found.headers["etag"] == f'"{hashlib.sha1(b"blob 100" + bytes(1) + SMALL).hexdigest()}"'
    assert len(found.headers["x-repo-commit"]) == 40
    assert found.headers["accept-ranges"] == "bytes"


def test_the_head_of_a_large_file(hub: HubStandIn) -> None:
    found = ask(hub.endpoint + LARGE_PATH, "HEAD")
    assert found.status == 302
    assert found.headers["x-linked-size"] == str(len(LARGE))
    assert found.headers["x-linked-etag"] == f'"{SHA256}"'
    assert found.headers["location"].startswith(hub.cdn)
    assert not any("xet" in name for name in found.headers)
    on_cdn = ask(found.headers["location"])
    assert on_cdn.body == LARGE
    assert SHA256 not in on_cdn.headers["etag"]


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-", 206, (0, 100)),
        ("bytes=10-19", 206, (10, 20)),
        ("bytes=90-500", 206, (90, 100)),
        ("bytes=-5", 206, (95, 100)),
        ("bytes=-500", 206, (0, 100)),
        ("bytes=100-", 416, None),
        ("bytes=5-2", 200, None),
        ("lines=1-2", 200, None),
    ],
)
def test_ranges(hub: HubStandIn, asked: str, status: int, span: tuple[int, int] | None) -> None:
    found = ask(hub.endpoint + SMALL_PATH, Range=asked)
    assert found.status == status
    if span:
        start, stop = span
        assert found.body == SMALL[start:stop]
        assert found.headers["content-range"] == f"bytes {start}-{stop - 1}/100"
    elif status == 416:
        assert found.headers["content-range"] == "bytes */100"
    else:
        assert found.body == SMALL


def test_if_range_holds_only_for_the_same_etag(hub: HubStandIn) -> None:
    url = resolve(hub)
    etag = ask(url, "HEAD").headers["etag"]
    assert ask(url, Range="bytes=7-", If_Range=etag).status == 206
    assert ask(url, Range="bytes=7-", If_Range=f'"{SHA256}"').status == 200


def test_one_connection_serves_many_requests(hub: HubStandIn) -> None:
    url = hub.endpoint + SMALL_PATH
    with contextlib.closing(connect(url)) as connection:
        assert reply(connection, url, "HEAD").status == 200
        socket = connection.sock
        assert reply(connection, url).body == SMALL
        assert reply(connection, hub.endpoint + "/org/model/resolve/main/no").status == 404
        assert reply(connection, url, Range="bytes=0-4").body == SMALL[:5]
        assert connection.sock is socket


def test_the_cdn_refuses_a_token_and_unknown_addresses(hub: HubStandIn) -> None:
    url = resolve(hub)
    assert ask(url, Authorization="Bearer hf_known").status == 400
    assert ask(url.replace("Signature=", "Signature=f")).status == 403
    assert hub.requests[-2].has_authorization


def test_plain_files_and_files_on_disk(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse.gguf"
    with sparse.open("wb") as file:
        file.truncate(4_000_000_000)
        file.seek(3_999_999_998)
        file.write(b"ab")
    repo = Repo("org/huge", {"huge.gguf": Blob(sparse, sha256="1" * 64)})
    with HubStandIn([repo], files={"a b.gguf": LARGE}) as hub:
        assert ask(hub.file_url("a b.gguf")).body == LARGE
        assert ask(hub.file_url("nothing")).status == 404
        url = hub.add_file("huge.gguf", sparse)
        for address in (url, resolve(hub, "/org/huge/resolve/main/huge.gguf")):
            found = ask(address, Range="bytes=-3")
            assert (found.body, found.headers["content-range"]) == (
                b"\0ab",
                "bytes 3999999997-3999999999/4000000000",
            )


def test_the_sha256_of_a_file_on_disk_is_computed_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(LARGE)
    with HubStandIn([Repo("org/disk", {"m.gguf": path})]) as hub:
        found = ask(f"{hub.endpoint}/org/disk/resolve/main/m.gguf", "HEAD")
    assert found.headers["x-linked-etag"] == f'"{SHA256}"'


def test_raw_gives_the_pointer_of_a_large_file(hub: HubStandIn) -> None:
    pointer = ask(hub.endpoint + "/org/model/raw/main/m.gguf").body.decode()
    assert f"oid sha256:{SHA256}\nsize {len(LARGE)}\n" in pointer


def test_text_is_compressed_for_those_who_accept_it(hub: HubStandIn) -> None:
    hub.compresses_text = True
    found = ask(hub.endpoint + SMALL_PATH, Accept_Encoding="gzip, deflate")
    assert found.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in found.headers
    assert gzip.decompress(found.body) == SMALL
    assert ask(hub.endpoint + SMALL_PATH, Accept_Encoding="identity").body == SMALL


def test_a_hostile_entry_is_served(hub: HubStandIn) -> None:
    hub.add_repo(Repo("org/hostile", {}, extra_entries=[ExtraEntry("../../evil", content=b"owned")]))
    found = ask(f"{hub.endpoint}/org/hostile/resolve/main/..%2F..%2Fevil")
    assert found.body == b"owned"


# The log


def test_the_log_tells_who_asked_for_what(hub: HubStandIn) -> None:
    ask(f"{hub.endpoint}/api/models?search=mod", Authorization="Bearer hf_bad")
    ask(resolve(hub), Range="bytes=10-19")
    search, head, body = hub.requests
    assert (search.path, search.query, search.status) == ("/api/models", "search=mod", 401)
    assert (search.port, search.has_authorization) == ("hub", True)
    assert (head.method, head.status, head.body_bytes_sent) == ("HEAD", 302, 0)
    assert (body.port, body.range, body.status, body.body_bytes_sent) == ("cdn", (10, 19), 206, 10)
    assert body.headers["range"] == "bytes=10-19"
    assert hub.bytes_sent("*/m.gguf") == 10
    hub.clear_log()
    assert hub.requests == []
    assert hub.bytes_sent() == 0


def test_bytes_are_counted_while_they_go_out(hub: HubStandIn) -> None:
    hub.bytes_per_second = 20_000
    url = resolve(hub)
    with contextlib.closing(connect(url)) as connection:
        connection.request("GET", urlsplit(url).path + "?" + urlsplit(url).query)
        with connection.getresponse() as response:
            assert response.read(2_000) == LARGE[:2_000]
            assert 2_000 <= hub.bytes_sent("*.gguf") < len(LARGE)
            assert not hub.requests[-1].finished
    wait_until(lambda: hub.requests[-1].finished)
    assert hub.requests[-1].body_bytes_sent < len(LARGE)


def test_how_many_were_served_at_once(hub: HubStandIn) -> None:
    hub.inject(Fault.stall("*.gguf", seconds=60, after_bytes=10, times=3))
    url = resolve(hub)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(ask, url) for _ in range(3)]
        wait_until(lambda: hub.bytes_sent("*.gguf") == 30)
        assert hub.max_connections_seen == {"hub": 1, "cdn": 3}
        hub.stop()  # cuts them
        assert [answer.result().error for answer in answers] == ["IncompleteRead"] * 3


def test_stopping_frees_the_ports_and_starting_takes_them_again(hub: HubStandIn) -> None:
    url = hub.endpoint + SMALL_PATH
    with contextlib.closing(connect(url)) as idle:
        reply(idle, url)
        hub.stop()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            reply(idle, url)
    with pytest.raises(ConnectionRefusedError):
        ask(url)
    hub.start()
    assert ask(url).body == SMALL


def test_nothing_is_left_behind(hub: HubStandIn) -> None:
    before = threading.active_count()
    with HubStandIn() as other:
        ask(f"{other.endpoint}/api/models")
    wait_until(lambda: threading.active_count() <= before)


# What goes wrong


def test_drop(hub: HubStandIn) -> None:
    hub.inject(Fault.drop("*.gguf", after_bytes=70_001, times=2))
    url = resolve(hub)  # neither this nor the redirect counts
    ask(hub.endpoint + LARGE_PATH)
    first, second, third = ask(url), ask(url, Range="bytes=1000-"), ask(url)
    assert (first.status, first.error, first.body) == (200, "IncompleteRead", LARGE[:70_001])
    assert first.headers["content-length"] == str(len(LARGE))
    assert (second.status, second.error, second.body) == (206, "IncompleteRead", LARGE[1000:71_001])
    assert (third.error, third.body) == (None, LARGE)
    assert [request.fault for request in hub.requests] == [None, None, "drop", "drop", None]


def test_drop_with_a_reset(hub: HubStandIn) -> None:
    hub.inject(Fault.drop("*.gguf", after_bytes=0, reset=True))
    with contextlib.suppress(ConnectionResetError):  # may overtake the headers
        assert ask(resolve(hub)).error == "ConnectionResetError"


def test_stall(hub: HubStandIn) -> None:
    hub.inject(Fault.stall("*.gguf", seconds=60, after_bytes=1_000), Fault.stall("*.gguf", seconds=0.01))
    url = resolve(hub)
    found = ask(url, timeout=1)
    assert (found.error, found.body) == ("TimeoutError", LARGE[:1_000])
    assert ask(url).body == LARGE


def test_corrupt(hub: HubStandIn) -> None:
    hub.inject(Fault.corrupt("*.gguf", offset=65_530, length=10, times=2))
    url = resolve(hub)
    expected = bytearray(LARGE)
    for position in range(65_530, 65_540):
        expected[position] ^= 255
    assert ask(url).body == expected
    assert ask(url, Range="bytes=65535-").body == expected[65_535:]
    assert ask(url).body == LARGE


def test_ignore_range(hub: HubStandIn) -> None:
    hub.inject(Fault.ignore_range("*.gguf"))
    url = resolve(hub)
    assert ask(url).status == 200  # asked for no range: does not count
    found = ask(url, Range="bytes=1000-")
    assert (found.status, found.body) == (200, LARGE)
    assert ask(url, Range="bytes=1000-").status == 206


def test_wrong_range(hub: HubStandIn) -> None:
    hub.inject(Fault.wrong_range("*.gguf", shift=-10))
    found = ask(resolve(hub), Range="bytes=100-199")
    assert found.headers["content-range"] == f"bytes 90-189/{len(LARGE)}"
    assert found.body == LARGE[90:190]


@pytest.mark.parametrize("difference", [10, -10])
def test_wrong_length(hub: HubStandIn, difference: int) -> None:
    hub.inject(Fault.wrong_length("*.gguf", difference))
    found = ask(resolve(hub))
    assert found.headers["content-length"] == str(len(LARGE) + difference)
    assert found.body == LARGE[: len(LARGE) + difference]
    assert found.error == ("IncompleteRead" if difference > 0 else None)


def test_changed_etag(hub: HubStandIn) -> None:
    hub.inject(Fault.changed_etag("*.gguf", content=b"other content", skip=1))
    url = resolve(hub)
    first = ask(url)
    later = ask(url, Range="bytes=6-", If_Range=first.headers["etag"])
    assert first.body == LARGE
    assert (later.status, later.body, later.headers["etag"]) == (200, b"other content", '"changed"')
    assert ask(url, Range="bytes=6-", If_Range='"changed"').body == b"content"


def test_range_not_satisfiable(hub: HubStandIn) -> None:
    hub.inject(Fault.range_not_satisfiable("*.gguf"))
    url = resolve(hub)
    assert ask(hub.endpoint + LARGE_PATH, Range="bytes=5-").status == 302
    assert ask(url).status == 200
    refused = ask(url, Range="bytes=5-")
    assert (refused.status, refused.headers["content-range"]) == (416, f"bytes */{len(LARGE)}")
    assert ask(url, Range="bytes=5-").status == 206


def test_errors_of_the_server(hub: HubStandIn) -> None:
    hub.inject(
        Fault.too_many_requests("*.gguf", retry_after=7),
        Fault.server_error("*.gguf", 500),
        Fault.html_page("*.gguf").limited(port="cdn"),
        Fault.server_error("/api/*", times=None).limited(method="GET", skip=1),
    )
    limited = ask(hub.endpoint + LARGE_PATH)
    assert (limited.status, limited.headers["retry-after"]) == (429, "7")
    assert ask(hub.endpoint + LARGE_PATH, "HEAD").status == 500
    page = ask(resolve(hub))
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert [ask(f"{hub.endpoint}/api/models").status for _ in range(3)] == [200, 503, 503]
    assert len(hub.pending_faults) == 1
    hub.clear_faults()
    assert ask(f"{hub.endpoint}/api/models").status == 200


def test_redirect_loop(hub: HubStandIn) -> None:
    hub.inject(Fault.redirect_loop("*/m.gguf"))
    url = hub.endpoint + LARGE_PATH
    assert ask(url, "HEAD").headers["location"] == url


def test_expired_signature(hub: HubStandIn) -> None:
    hub.inject(Fault.expired_signature("*.gguf"))
    old = resolve(hub)
    assert [ask(old).status, ask(old).status] == [403, 403]
    assert ask(resolve(hub)).body == LARGE
    assert ask(old).status == 403


def test_replaced_headers(hub: HubStandIn) -> None:
    hub.inject(Fault.replaced_headers("*.gguf", {"x-repo-commit": "../../evil", "X-Linked-Etag": None}))
    found = ask(hub.endpoint + LARGE_PATH, "HEAD")
    assert found.headers["x-repo-commit"] == "../../evil"
    assert "x-linked-etag" not in found.headers
    assert found.headers["x-linked-size"] == str(len(LARGE))


def test_a_failure_of_the_stand_in_itself_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="itself failed"), HubStandIn() as hub:
        ask_and_forget = connect(hub.endpoint)
        with contextlib.closing(ask_and_forget), pytest.raises(http.client.RemoteDisconnected):
            reply(ask_and_forget, f"{hub.endpoint}/api/models?limit=many")
