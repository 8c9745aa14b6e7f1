"""Files written behind the caller's back have the bytes of an ordinary file, or raise its error."""

from __future__ import annotations

import errno
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from localllm.write_behind import BLOCK_BYTES, WriteBehind

needs_pwrite = pytest.mark.skipif(not hasattr(os, "pwrite"), reason="needs pwrite")


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(
    "size", [0, 1, 4096, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 7 * BLOCK_BYTES + 5]
)
@pytest.mark.parametrize("guess", [0, 3 * BLOCK_BYTES])
def test_the_file_holds_what_was_written(size: int, guess: int, direct: bool, tmp_path: Path) -> None:
    data = random.Random(size).randbytes(size)
    path = tmp_path / "file"
    path.write_bytes(b"something older and longer" * 10)
    with WriteBehind(path, guess, direct=direct) as file:
        view, taken, step = memoryview(data), 0, 1
        while taken < size:
            taken += file.write(view[taken : taken + step])
            step = step * 3 + 1
    assert path.read_bytes() == data


@needs_pwrite
@pytest.mark.parametrize("after", [0, 2, 7])
def test_a_full_disk_is_reported(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def full(*_: Any) -> int:
        nonlocal calls
        calls += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    with pytest.raises(OSError, match="No space"), WriteBehind(path, 0) as file:
        file.write(bytes(after * BLOCK_BYTES))
        monkeypatch.setattr(os, "pwrite", full)
        for _ in range(10):
            file.write(bytes(BLOCK_BYTES))
    assert 1 <= calls < 10
    monkeypatch.undo()
    path.unlink()  # on Windows this fails when the file is still open


@needs_pwrite
@pytest.mark.skipif(sys.platform != "linux", reason="needs O_DIRECT")
def test_a_file_system_that_refuses_direct_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.pwrite

    def refusing(descriptor: int, data: Any, offset: int) -> int:
        flags = int(Path(f"/proc/self/fdinfo/{descriptor}").read_text().split("flags:")[1].split()[0], 8)
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return plain(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", refusing)
    data = random.Random(1).randbytes(3 * BLOCK_BYTES + 17)
    path = tmp_path / "file"
    with WriteBehind(path, len(data)) as file:
        file.write(data)
    assert path.read_bytes() == data


@needs_pwrite
def test_writes_may_be_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: whole(fd, data[: 1024 * 1024], offset))
    data = random.Random(2).randbytes(2 * BLOCK_BYTES + 5)
    path = tmp_path / "file"
    with WriteBehind(path, 0, direct=False) as file:
        file.write(data)
    assert path.read_bytes() == data


def test_an_error_of_the_caller_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), WriteBehind(tmp_path / "file", BLOCK_BYTES) as file:
        file.write(bytes(BLOCK_BYTES * 3))
        raise ValueError("mine")


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WriteBehind(tmp_path / "no" / "file", 0)
