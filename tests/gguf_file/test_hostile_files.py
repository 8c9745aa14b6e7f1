"""Files that are no files, or change, or cannot be read: one clear error each, and never a wait."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localllm.errors import InvalidGGUFError, LocalLLMError, NotFoundError
from localllm.gguf_file import FileSource, read_header
from tests.gguf_file.raw import array_pair, gguf_bytes, tensor
from tests.tiny_gguf import build_tiny_gguf

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")


def refusal(path: Path) -> LocalLLMError:
    with pytest.raises(LocalLLMError) as caught:
        read_header(path)
    assert caught.value.message.isprintable()
    return caught.value


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    error = refusal(tmp_path / "missing.gguf")
    assert isinstance(error, NotFoundError)
    assert error.message == f"no such file: {tmp_path / 'missing.gguf'}"


def test_a_file_taken_for_a_directory_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert isinstance(refusal(tmp_path / "file" / "model.gguf"), NotFoundError)


@pytest.mark.parametrize("name", ["a\0b.gguf", "\udcff\ud800.gguf"])
def test_an_impossible_name_is_not_found(name: str, tmp_path: Path) -> None:
    assert isinstance(refusal(tmp_path / name), NotFoundError)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.gguf").write_bytes(b"")
    error = refusal(tmp_path / "empty.gguf")
    assert isinstance(error, InvalidGGUFError)
    assert "the file is empty" in error.message
    assert error.hint


def test_a_directory_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert isinstance(error, InvalidGGUFError)
    assert "is a directory" in error.message
    assert error.hint == "name the .gguf file in it"


@needs_posix
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "not a regular file" in refusal(tmp_path / "pipe.gguf").message


@needs_posix
def test_a_pipe_that_takes_a_files_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and opening: the descriptor is looked at, too, and closed."""
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    (tmp_path / "regular").touch()
    regular = (tmp_path / "regular").stat()
    next_descriptor = os.dup(0)
    os.close(next_descriptor)
    monkeypatch.setattr(Path, "stat", lambda self, **_: regular)
    assert "not a regular file" in refusal(path).message
    descriptor = os.dup(0)
    os.close(descriptor)
    assert descriptor == next_descriptor


@needs_posix
def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("model.gguf")
        assert "not a regular file" in refusal(Path("model.gguf")).message


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/random", "/dev/null", "/dev/tty"])
def test_a_device_is_refused(device: str) -> None:
    if not Path(device).exists():
        pytest.skip(f"no {device}")
    assert "not a regular file" in refusal(Path(device)).message


@needs_posix
def test_links_that_lead_in_a_circle_or_nowhere(tmp_path: Path) -> None:
    (tmp_path / "circle.gguf").symlink_to("circle.gguf")
    (tmp_path / "nowhere.gguf").symlink_to("missing.gguf")
    assert "cannot read" in refusal(tmp_path / "circle.gguf").message
    assert isinstance(refusal(tmp_path / "nowhere.gguf"), NotFoundError)


@needs_posix
def test_a_file_one_may_not_read_is_refused(tmp_path: Path) -> None:
    path = build_tiny_gguf(tmp_path / "secret.gguf", width=32, layers=1)
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser reads everything
        assert "Permission denied" in as_nobody(path)
        return
    error = refusal(path)
    assert error.message == f"cannot read {path}: Permission denied"
    assert error.hint


def as_nobody(path: Path) -> str:
    """Return the message of reading `path` as a user without rights; '' becomes a skip."""
    script = (
        "import os, sys; os.setgid(65534); os.setuid(65534)\n"
        "from pathlib import Path; from localllm.errors import LocalLLMError\n"
        "from localllm.gguf_file import read_header\n"
        "try: read_header(Path(sys.argv[1]))\n"
        "except LocalLLMError as error: print(error.message, '|', error.hint)"
    )
    imports = "import sys; import localllm.gguf_file\n"  # what nobody may not import
    command = [sys.executable, "-c", imports + script, path.name]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=path.parent)
    if "Permission denied" not in found.stdout:
        pytest.skip(f"cannot become nobody: {found.stderr.strip()[-200:]}")
    return found.stdout


def test_a_long_name_is_refused(tmp_path: Path) -> None:
    assert "cannot read" in refusal(tmp_path / ("n" * 5000)).message


def big_file(path: Path) -> Path:
    """Write a file whose header is larger than what is read at once."""
    numbers = [array_pair(b"k%d" % index, 0, 2**20, bytes(2**20)) for index in range(6)]
    path.write_bytes(gguf_bytes(numbers, [tensor(b"t", [8])], data_bytes=32))
    return path


@pytest.mark.parametrize("left", [0, 10, 500_000, 2_000_000])
def test_a_file_that_shrinks_while_it_is_read(left: int, tmp_path: Path) -> None:
    path = big_file(tmp_path / "shrinking.gguf")
    source = FileSource(path)
    after(source, lambda: os.truncate(path, left))
    try:
        with pytest.raises(InvalidGGUFError, match="became shorter while it was read") as caught:
            read_header(source)
        assert caught.value.hint
    finally:
        source.close()


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    path = big_file(tmp_path / "growing.gguf")
    source = FileSource(path)
    after(source, lambda: os.truncate(path, 2**33))
    try:
        assert read_header(source).file_size_bytes == source.size_bytes
    finally:
        source.close()


def after(source: FileSource, change: Callable[[], None]) -> None:
    """Let something happen to the file after the first piece was read."""
    read_at, read = source.read_at, []

    def reading(offset: int, length: int) -> bytes:
        piece = read_at(offset, length)
        if not read:
            change()
        read.append(piece)
        return piece

    source.read_at = reading  # type: ignore[method-assign]


def test_an_error_of_the_disk_is_refused(tmp_path: Path) -> None:
    source = FileSource(big_file(tmp_path / "broken.gguf"))
    source._file.close()
    source._file = BrokenFile()  # type: ignore[assignment]
    with pytest.raises(InvalidGGUFError, match=r"cannot read .*broken\.gguf: Input/output error"):
        read_header(source)


class BrokenFile:
    """A file on a disk that is failing."""

    def seek(self, offset: int) -> int:
        return offset

    def read(self, length: int) -> bytes:
        raise OSError(5, "Input/output error")


def test_a_name_with_control_characters_is_shown_escaped(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31mred\n.gguf"
    try:
        path.write_bytes(b"")
    except OSError:
        pytest.skip("no such names here")
    error = refusal(path)
    assert error.message.endswith("\\x1b[31mred\\n.gguf: the file is empty")
