"""Every fault of a server ends in the right file or one clear line, never in a wrong file under its name."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.hub.pulling import FILE, GGUF, MIB, PATTERN, cached, home_of, leftovers, noise, pull, sha256
from tests.hub.stand_in import Fault, HubStandIn, Repo

SIZE = 40 * MIB

# faults that pass, or that there is a way around
OVERCOME = {
    "drop": [Fault.drop(PATTERN, after_bytes=5 * MIB, times=2)],
    "drop again and again": [Fault.drop(PATTERN, after_bytes=9 * MIB, times=None)],
    "reset": [Fault.drop(PATTERN, after_bytes=5 * MIB, times=2, reset=True)],
    "ranges ignored": [Fault.ignore_range(PATTERN, times=None)],
    "ranges ignored once": [Fault.ignore_range(PATTERN, times=1)],
    "ranges ignored and dropped": [
        Fault.drop(PATTERN, after_bytes=3 * MIB, times=1),
        Fault.ignore_range(PATTERN, times=None),
    ],
    "too short once": [Fault.wrong_length(PATTERN, -100, times=1)],
    "too long": [Fault.wrong_length(PATTERN, 100, times=None)],
    "another range": [Fault.wrong_range(PATTERN, 1000, times=1)],
    "416 once": [Fault.range_not_satisfiable(PATTERN, times=1)],
    "429": [Fault.too_many_requests(PATTERN, 1, times=1)],
    "503": [Fault.server_error(PATTERN, 503, times=2)],
    "500 of the API": [Fault.server_error("/api/*", 500, times=1)],
    "stall": [Fault.stall(PATTERN, 5, after_bytes=MIB, times=1)],
    "another ETag": [Fault.changed_etag(PATTERN, skip=1, times=None)],
    "a page once": [Fault.html_page(PATTERN, times=1)],
    "an expired link": [Fault.expired_signature(PATTERN, times=1)],
    "strange headers": [Fault.replaced_headers(PATTERN, {"X-Repo-Commit": "../x", "ETag": None}, times=None)],
    "hostile ETag": [Fault.replaced_headers(PATTERN, {"X-Linked-Etag": '"../../../../evil"'}, times=None)],
}

# faults that do not pass: (faults, what is said, whether a part is kept for the next time)
FATAL = {
    "corrupt": ([Fault.corrupt(PATTERN, MIB, 10, times=None)], "its checksum differs; it was removed", False),
    "other content": (
        [Fault.changed_etag(PATTERN, content=random.Random(5).randbytes(SIZE), skip=0, times=None)],
        "its checksum differs; it was removed",
        False,
    ),
    "416": ([Fault.range_not_satisfiable(PATTERN, times=None)], "is not to be had", False),
    "429 for long": ([Fault.too_many_requests(PATTERN, 1000, times=None)], "wait 1000 seconds", False),
    "a page": ([Fault.html_page(PATTERN, times=None)], "bytes long instead of", False),
    "a page for the API": ([Fault.html_page("/api/*", times=None)], "something else than JSON", False),
    "round in circles": ([Fault.redirect_loop(PATTERN, times=None)], "round in circles", False),
    "403": ([Fault.answer(PATTERN, 403, b"no", {}, times=None).limited(port="hub")], "refuses: 403", False),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise(tmp_path_factory.mktemp("model") / "noise", SIZE)


@pytest.mark.parametrize("name", OVERCOME)
def test_faults_that_are_overcome(name: str, model: Path, tmp_path: Path) -> None:
    with HubStandIn([Repo(GGUF, {FILE: model})]) as hub:
        hub.inject(*OVERCOME[name])
        done = pull(home_of(hub, tmp_path), f"{GGUF}:Q4_K_M")
        assert done.returncode == 0, done.stderr
        assert [sha256(path) for path in cached(tmp_path)] == [sha256(model)]
        assert hub.bytes_sent(PATTERN) < 2.2 * SIZE
    assert leftovers(tmp_path) == []
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("name", FATAL)
def test_faults_that_are_told(name: str, model: Path, tmp_path: Path) -> None:
    faults, message, keeps = FATAL[name]
    with HubStandIn([Repo(GGUF, {FILE: model})]) as hub:
        hub.inject(*faults)
        done = pull(home_of(hub, tmp_path), f"{GGUF}:Q4_K_M")
        assert done.returncode == 1
        assert done.stdout == ""
        assert message in done.stderr
        assert done.stderr.count("error:") == 1
        assert "Traceback" not in done.stderr
        assert cached(tmp_path) == []
        assert bool(leftovers(tmp_path)) == keeps
        hub.clear_faults()
        again = pull(home_of(hub, tmp_path), f"{GGUF}:Q4_K_M")
        assert again.returncode == 0, again.stderr
    assert [sha256(path) for path in cached(tmp_path)] == [sha256(model)]


def test_a_server_that_gives_up_leaves_a_part_to_go_on_with(model: Path, tmp_path: Path) -> None:
    with HubStandIn([Repo(GGUF, {FILE: model})]) as hub:
        env = home_of(hub, tmp_path)
        broken = Fault.drop(PATTERN, after_bytes=3 * MIB, times=2)
        hub.inject(broken, Fault.too_many_requests(PATTERN, 500, times=None).limited(skip=2))
        done = pull(env, f"{GGUF}:Q4_K_M")
        assert done.returncode == 1, done.stderr
        assert cached(tmp_path) == []
        assert len(leftovers(tmp_path)) == 2
        hub.clear_faults()
        hub.clear_log()
        again = pull(env, f"{GGUF}:Q4_K_M")
        assert again.returncode == 0, again.stderr
        assert "of it are here already" in again.stderr
        assert hub.bytes_sent("/lfs/*") < SIZE - 4 * MIB
    assert sha256(cached(tmp_path)[0]) == sha256(model)
