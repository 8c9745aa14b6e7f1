"""Ctrl-C and a dying child while a matrix is collected: nothing remains, nobody goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.cli.process import COMMAND, environment, files_below

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(autouse=True)
def _ctrl_c_works() -> None:
    """Undo an ignored SIGINT, which a pytest started in the background would hand down to its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def long_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.txt"
    path.write_text("abcdefghij " * 200_000)  # minutes of work, even for a tiny model
    return path


def start(model: Path, text: Path, output: Path) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """Start collecting; return when the child has been computing for a while."""
    command = [*COMMAND, "imatrix", str(model), "-f", str(text), "-o", str(output), "--context", "64"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        for child in psutil.Process(process.pid).children():
            if child.cpu_times().user > 1.5:
                return process, child
        time.sleep(0.02)


def wait_until_gone(child: psutil.Process) -> None:
    deadline = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child survived"
        time.sleep(0.05)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(
    sent: signal.Signals, narrow_gguf: Path, long_text: Path, tmp_path: Path
) -> None:
    process, child = start(narrow_gguf, long_text, tmp_path / "new" / "m.gguf")
    process.send_signal(sent)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (output, errors) == (b"", b"")
    wait_until_gone(child)
    assert files_below(tmp_path) == set()


def test_a_dying_child_is_an_error_with_a_reason(narrow_gguf: Path, long_text: Path, tmp_path: Path) -> None:
    process, child = start(narrow_gguf, long_text, tmp_path / "m.gguf")
    child.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"was killed by SIGKILL" in errors
    assert files_below(tmp_path) == set()
