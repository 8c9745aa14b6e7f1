"""Files appear complete or not at all; nothing is left behind; nothing is overwritten by mistake."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from localllm.errors import SameFileError, StorageError
from localllm.publication import (
    publishing,
    publishing_files,
    require_distinct,
    require_space,
    translated_errors,
)
from tests.cli.process import environment, files_below

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


def dead_pid() -> int:
    """Return the number of a process that has ended."""
    command = [sys.executable, "-c", "import os; print(os.getpid())"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_finished_file_appears_under_its_name(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "file.bin"
    with publishing(target) as part:
        part.write_bytes(b"content")
        assert not target.exists()
        assert part.parent == target.parent
    assert target.read_bytes() == b"content"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(failure: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "file.bin"
    with pytest.raises(failure), publishing(target) as part:
        part.write_bytes(b"half")
        raise failure
    assert files_below(tmp_path) == set()


def test_a_failure_keeps_the_old_file_and_what_others_put_there(tmp_path: Path) -> None:
    target = tmp_path / "made" / "file.bin"
    with pytest.raises(ValueError, match="late"), publishing(target) as part:
        part.write_bytes(b"half")
        target.with_name("other.txt").write_text("mine")
        raise ValueError("late")
    assert files_below(tmp_path) == {target.parent, target.with_name("other.txt")}
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="late"), publishing(target) as part:
        part.write_bytes(b"half")
        raise ValueError("late")
    assert target.read_bytes() == b"old"


def test_a_replaced_file_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(b"old and longer")
    with publishing(target) as part:
        part.write_bytes(b"new")
    assert target.read_bytes() == b"new"


def test_writing_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"), publishing(tmp_path / "file.bin"):
        pass
    assert files_below(tmp_path) == set()


def test_parts_of_dead_processes_are_removed_and_others_kept(tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    dead = tmp_path / f".file.bin.part-{dead_pid()}"
    foreign = [tmp_path / ".file.bin.part-abc", tmp_path / f".other.bin.part-{dead_pid()}"]
    for path in (dead, *foreign):
        path.write_bytes(b"half")
    with publishing(target) as part:
        part.write_bytes(b"whole")
    assert files_below(tmp_path) == {target, *foreign}


def test_what_a_living_process_writes_is_left_to_it(tmp_path: Path) -> None:
    target, alive = tmp_path / "file.bin", tmp_path / f".file.bin.part-{os.getppid()}"
    alive.write_bytes(b"half")
    with pytest.raises(StorageError, match=f"being written by .* process {os.getppid()}"), publishing(target):
        pytest.fail("there is nothing to write to")
    assert files_below(tmp_path) == {alive}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_is_said_with_what_is_free(number: int, tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.bin"
    with pytest.raises(StorageError, match="no space left to write") as caught, publishing(target) as part:
        part.write_bytes(b"half")
        raise OSError(number, os.strerror(number))
    assert "free there" in (caught.value.hint or "")
    assert files_below(tmp_path) == set()


FILE_SIZE_LIMIT = """
import resource, signal, sys
from pathlib import Path
from localllm.publication import publishing
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with publishing(Path(sys.argv[1])) as part:
    part.write_bytes(bytes(5000))
"""


@posix_only
def test_a_real_file_size_limit_leaves_nothing(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FILE_SIZE_LIMIT, str(tmp_path / "file.bin")],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert "StorageError: no space left to write" in result.stderr
    assert files_below(tmp_path) == set()


def test_other_errors_keep_their_reason(tmp_path: Path) -> None:
    reason = pytest.raises(StorageError, match=r"cannot write .*: Input/output error")
    with reason, translated_errors(tmp_path / "file.bin"):
        raise OSError(errno.EIO, "Input/output error")


@posix_only
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        refusal = pytest.raises(StorageError, match="Permission denied")
        with refusal, publishing(tmp_path / "file.bin") as part:
            part.write_bytes(b"content")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_place_of_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write"), publishing(tmp_path / "file" / "x.bin") as part:
        part.write_bytes(b"content")
    assert files_below(tmp_path) == {tmp_path / "file"}


def test_a_name_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"), publishing(tmp_path / ("n" * 250)) as part:
        part.write_bytes(b"content")
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize("link", ["itself", "symlink", "hard link", "detour"])
def test_source_and_target_are_never_one_file(link: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source.gguf", tmp_path / "target.gguf"
    source.write_bytes(b"precious")
    if link == "symlink":
        target.symlink_to(source)
    elif link == "hard link":
        target.hardlink_to(source)
    else:
        target = tmp_path / "." / ".." / tmp_path.name / "source.gguf" if link == "detour" else source
    with pytest.raises(SameFileError, match="is the file it would be made from") as caught:
        require_distinct(source, target)
    assert caught.value.exit_code == 2


def test_different_files_are_distinct(tmp_path: Path) -> None:
    source, target = tmp_path / "source.gguf", tmp_path / "target.gguf"
    source.write_bytes(b"same content")
    require_distinct(source, target)
    target.write_bytes(b"same content")
    require_distinct(source, target)


def test_space_is_checked_before_writing(tmp_path: Path) -> None:
    require_space([(tmp_path / "not" / "there" / "yet.bin", 1)])
    with pytest.raises(StorageError, match=r"needs .* but only .* are free there"):
        require_space([(tmp_path / "file.bin", 2**60)])


def trio(directory: Path) -> list[Path]:
    return [directory / f"file-{number}" for number in (1, 2, 3)]


def test_several_files_appear_together_the_first_one_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        order.append(target.name)
        assert target.name == "file-1" or not (target.parent / "file-1").exists()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    for content in ("old", "new"):
        with publishing_files(trio(tmp_path / "new" / "deep")) as parts:
            for part in parts:
                part.write_text(content)
    assert order == ["file-3", "file-2", "file-1"] * 2
    assert [path.read_text() for path in trio(tmp_path / "new" / "deep")] == ["new"] * 3
    assert len(files_below(tmp_path / "new" / "deep")) == 3


@pytest.mark.parametrize("failing", ["file-1", "file-2", "file-3"])
def test_several_files_disappear_together(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def broken(self: Path, target: Path) -> Path:
        if target.name == failing:
            raise PermissionError(errno.EACCES, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", broken)
    with (
        pytest.raises(StorageError, match="cannot write"),
        publishing_files(trio(tmp_path / "made")) as parts,
    ):
        for part in parts:
            part.write_text("x")
    assert files_below(tmp_path) == set()


def test_a_failure_before_the_end_keeps_the_old_files(tmp_path: Path) -> None:
    for path in trio(tmp_path):
        path.write_text("old")
    with pytest.raises(ValueError, match="late"), publishing_files(trio(tmp_path)) as parts:
        parts[0].write_text("half")
        raise ValueError("late")
    assert [path.read_text() for path in trio(tmp_path)] == ["old"] * 3
    assert files_below(tmp_path) == set(trio(tmp_path))
