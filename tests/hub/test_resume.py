"""Downloads that are stopped, whatever stops them, go on where they were; two at once make one download."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hub.pulling import (
    FILE,
    GGUF,
    MIB,
    PATTERN,
    cached,
    home_of,
    leftovers,
    noise,
    pull,
    pulling,
    sha256,
)
from tests.hub.stand_in import Fault, HubStandIn, Repo

LARGE = 200 * MIB
SIZE = 64 * MIB
TWICE = 16 * MIB  # what may be fetched a second time
PACE = 80 * MIB  # bytes per second: slow enough that nothing waits in the system's buffers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise(tmp_path_factory.mktemp("large") / "noise", LARGE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise(tmp_path_factory.mktemp("model") / "noise", SIZE)


def stop_in_the_middle(
    hub: HubStandIn, env: dict[str, str], stop: signal.Signals, after_bytes: int
) -> subprocess.Popen[str]:
    """Begin a pull, stop it when so much was sent, and return the process when it has ended."""
    hub.bytes_per_second, hub.shares_bandwidth = PACE, True
    with pulling(env, f"{GGUF}:Q4_K_M") as process:
        while hub.bytes_sent(PATTERN) < after_bytes and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(stop)
        process.wait(30)
        hub.bytes_per_second = None
        time.sleep(0.3)  # the stand-in notices that nobody listens
        return process


@pytest.mark.parametrize(("stop", "share"), [("SIGKILL", 0.3), ("SIGKILL", 0.8), ("SIGINT", 0.5)])
def test_a_stopped_pull_goes_on_where_it_was(stop: str, share: float, large: Path, tmp_path: Path) -> None:
    with HubStandIn([Repo(GGUF, {FILE: large})]) as hub:
        env = home_of(hub, tmp_path)
        stopped = stop_in_the_middle(hub, env, signal.Signals[stop], int(LARGE * share))
        assert stopped.returncode == (130 if stop == "SIGINT" else -signal.SIGKILL)
        assert cached(tmp_path) == []
        again = pull(env, f"{GGUF}:Q4_K_M")
        assert again.returncode == 0, again.stderr
        assert "of it are here already" in again.stderr
        assert hub.bytes_sent(PATTERN) - LARGE <= TWICE
    assert sha256(cached(tmp_path)[0]) == sha256(large)
    assert leftovers(tmp_path) == []


def test_killed_again_and_again(model: Path, tmp_path: Path) -> None:
    with HubStandIn([Repo(GGUF, {FILE: model})]) as hub:
        env = home_of(hub, tmp_path)
        for round_ in range(1, 5):
            stop_in_the_middle(hub, env, signal.SIGKILL, round_ * 12 * MIB)
        assert pull(env, f"{GGUF}:Q4_K_M").returncode == 0
        assert hub.bytes_sent(PATTERN) - SIZE <= 4 * TWICE
    assert sha256(cached(tmp_path)[0]) == sha256(model)


def test_a_server_without_ranges_makes_it_begin_again(model: Path, tmp_path: Path) -> None:
    with HubStandIn([Repo(GGUF, {FILE: model})]) as hub:
        env = home_of(hub, tmp_path)
        stop_in_the_middle(hub, env, signal.SIGKILL, SIZE // 2)
        hub.inject(Fault.ignore_range(PATTERN, times=None))
        again = pull(env, f"{GGUF}:Q4_K_M")
        assert again.returncode == 0, again.stderr
        assert f"starting {FILE} again: the server does not give parts of it" in again.stderr
    assert sha256(cached(tmp_path)[0]) == sha256(model)


def test_a_file_that_changed_meanwhile_begins_again(model: Path, tmp_path: Path) -> None:
    repo = Repo(GGUF, {FILE: model})
    with HubStandIn([repo]) as hub:
        env = home_of(hub, tmp_path)
        stop_in_the_middle(hub, env, signal.SIGKILL, SIZE // 2)
        new = noise(tmp_path / "new", 5 * MIB, 7)
        repo.commit({FILE: new})
        again = pull(env, f"{GGUF}:Q4_K_M")
        assert again.returncode == 0, again.stderr
        assert f"starting {FILE} again: it has changed on the hub" in again.stderr
    assert [sha256(path) for path in cached(tmp_path)] == [sha256(new)]
    assert leftovers(tmp_path) == []


def test_a_part_that_rotted_begins_again(model: Path, tmp_path: Path) -> None:
    with HubStandIn([Repo(GGUF, {FILE: model})]) as hub:
        env = home_of(hub, tmp_path)
        stop_in_the_middle(hub, env, signal.SIGKILL, SIZE // 2)
        (part,) = (path for path in leftovers(tmp_path) if path.name.endswith(".incomplete"))
        with part.open("r+b") as file:
            file.write(b"rotten")
        again = pull(env, f"{GGUF}:Q4_K_M")
        assert again.returncode == 0, again.stderr
        assert "its parts do not fit together" in again.stderr
    assert sha256(cached(tmp_path)[0]) == sha256(model)


@pytest.mark.parametrize("state", [b"", b"not json", b"{}" + b" " * 4094 + b"\1" * 200, os.urandom(5000)])
def test_a_damaged_note_of_progress_begins_again(state: bytes, model: Path, tmp_path: Path) -> None:
    with HubStandIn([Repo(GGUF, {FILE: model})]) as hub:
        env = home_of(hub, tmp_path)
        stop_in_the_middle(hub, env, signal.SIGKILL, SIZE // 4)
        (note,) = (path for path in leftovers(tmp_path) if path.name.endswith(".state"))
        note.write_bytes(state)
        assert pull(env, f"{GGUF}:Q4_K_M").returncode == 0
    assert sha256(cached(tmp_path)[0]) == sha256(model)


def test_two_at_once_make_one_download(model: Path, tmp_path: Path) -> None:
    with HubStandIn([Repo(GGUF, {FILE: model})]) as hub:
        env = home_of(hub, tmp_path)
        hub.bytes_per_second, hub.shares_bandwidth = PACE, True
        with pulling(env, f"{GGUF}:Q4_K_M") as one, pulling(env, f"{GGUF}:Q4_K_M") as two:
            ends = [process.communicate(timeout=60) for process in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0], ends
        assert ends[0][0] == ends[1][0]
        assert "another process is downloading" in ends[0][1] + ends[1][1]
        assert hub.bytes_sent("/lfs/*") == SIZE
    assert sha256(cached(tmp_path)[0]) == sha256(model)
    assert leftovers(tmp_path) == []


def test_whoever_waits_takes_over_from_one_that_is_killed(model: Path, tmp_path: Path) -> None:
    with HubStandIn([Repo(GGUF, {FILE: model})]) as hub:
        env = home_of(hub, tmp_path)
        hub.bytes_per_second, hub.shares_bandwidth = PACE, True
        with pulling(env, f"{GGUF}:Q4_K_M") as one:
            while hub.bytes_sent(PATTERN) < SIZE // 4:
                time.sleep(0.01)
            with pulling(env, f"{GGUF}:Q4_K_M") as two:
                while hub.bytes_sent(PATTERN) < SIZE // 2:
                    time.sleep(0.01)
                one.kill()
                _, errors = two.communicate(timeout=60)
        assert two.returncode == 0, errors
        assert hub.bytes_sent("/lfs/*") - SIZE <= TWICE
    assert sha256(cached(tmp_path)[0]) == sha256(model)


def test_a_full_disk_is_told(model: Path, tmp_path: Path) -> None:
    with HubStandIn([Repo(GGUF, {FILE: model})]) as hub:
        env = home_of(hub, tmp_path)
        limited = f"ulimit -f {20 * 1024}; trap '' XFSZ; exec {sys.executable} -m localllm pull {GGUF}:Q4_K_M"
        done = subprocess.run(["bash", "-c", limited], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "no space left to write" in done.stderr
        assert "HF_HOME" in done.stderr
        assert "Traceback" not in done.stderr
        assert cached(tmp_path) == []
        assert pull(env, f"{GGUF}:Q4_K_M").returncode == 0
    assert sha256(cached(tmp_path)[0]) == sha256(model)
