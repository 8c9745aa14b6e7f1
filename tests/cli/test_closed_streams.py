"""Standard streams that are closed or cannot be written to: one line at most, never a traceback."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import COMMAND, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")

_CLOSED = "error: cannot write to standard output: Bad file descriptor\n"
_FULL = "error: cannot write to standard output: No space left on device\n"


def shell(line: str, place: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a line in which `localllm` is the command under test."""
    command = " ".join(map(shlex.quote, COMMAND))
    return subprocess.run(
        ["/bin/sh", "-c", line.replace("localllm", command)],
        capture_output=True,
        text=True,
        cwd=place,
        env=environment(extra),
        timeout=120,
        check=False,
    )


@pytest.fixture
def place(narrow_gguf: Path, tmp_path: Path) -> Path:
    """A directory with a model."""
    (tmp_path / "model.gguf").write_bytes(narrow_gguf.read_bytes())
    return tmp_path


PRINTING = [
    "--help",
    "--version",
    "list --json",
    "inspect model.gguf",
    "inspect model.gguf --json",
    "inspect model.gguf --tensors",
    "inspect none.gguf --json",
    "quantize model.gguf -q Q8_0,Q4_0 --plan",
    "quantize model.gguf -q Q8_0,Q4_0 --plan --json",
]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", PRINTING)
def test_a_closed_output_is_one_line(arguments: str, unbuffered: str, place: Path) -> None:
    result = shell(f"localllm {arguments} >&-", place, PYTHONUNBUFFERED=unbuffered)
    assert result.returncode == 1
    assert [line for line in result.stderr.splitlines(keepends=True) if "note: " not in line] == [_CLOSED]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["--help", "inspect model.gguf --json", "quantize model.gguf -q Q8_0"])
def test_a_full_output_is_one_line(arguments: str, unbuffered: str, place: Path) -> None:
    result = shell(f"localllm {arguments} >/dev/full", place, PYTHONUNBUFFERED=unbuffered)
    assert result.returncode == 1
    assert [line for line in result.stderr.splitlines(keepends=True) if "note: " not in line] == [_FULL]


@pytest.mark.parametrize("arguments", PRINTING)
def test_whoever_stops_reading_early_hears_nothing_of_it(arguments: str, place: Path) -> None:
    result = shell(f"localllm {arguments} | true", place)
    assert result.returncode == 0
    assert "Error" not in result.stderr
    assert "cannot write" not in result.stderr


def test_who_prints_nothing_does_not_notice(place: Path) -> None:
    result = shell("localllm inspect none.gguf >&-", place)
    assert result.returncode == 1
    assert result.stderr.startswith("error: no such file")


def test_without_error_output_everything_works(place: Path) -> None:
    assert shell("localllm inspect model.gguf 2>&-", place).returncode == 0
    assert shell("localllm inspect none.gguf 2>&-", place).returncode == 1
    assert shell("localllm inspect none.gguf >&- 2>&-", place).returncode == 1


def test_no_file_lands_in_the_place_of_a_closed_stream(place: Path) -> None:
    """It would be printed into: the part file is written while notes and errors go to descriptor 2."""
    whole = shell("localllm quantize model.gguf -q Q8_0 -o whole.gguf", place)
    assert whole.returncode == 0, whole.stderr
    closed = shell("localllm quantize model.gguf -q Q8_0 -o closed.gguf <&- >&- 2>&-", place)
    assert closed.returncode == 1, "the table could not be shown"
    assert (place / "closed.gguf").read_bytes() == (place / "whole.gguf").read_bytes()


def test_a_closed_input_is_an_empty_one(place: Path) -> None:
    result = shell("localllm chat model.gguf <&-", place)
    assert result.returncode == 2
    assert result.stderr.startswith("error: there is nothing to answer\n")
