"""The record of the last use, and the lock that tells that a model is in use."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from localllm.library import usage
from localllm.store import models_directory
from tests.cli.process import environment
from tests.library.places import gguf, put_cached, put_stored

_HOLDER = """
import sys, pathlib
from localllm.library import usage
usage.note_use(pathlib.Path(sys.argv[1]))
heavy = [name for name in ("numpy", "llama_cpp", "huggingface_hub") if name in sys.modules]
print("using", *heavy, flush=True)
sys.stdin.read()
"""


def start_using(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "using\n"
    return process


def test_a_use_is_noted_for_whatever_leads_to_the_file() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": gguf()})
    link = next(repo.folder.rglob("m-Q8_0.gguf"))
    assert usage.last_used(link) is None
    usage.note_use(link)
    noted = usage.last_used(link.resolve())
    assert noted is not None
    assert abs(datetime.now(UTC) - noted) < timedelta(minutes=1)
    (record,) = (models_directory().parent / "used").iterdir()
    assert record.read_text() == str(link.resolve())


def test_a_later_use_moves_the_time() -> None:
    path = put_stored("mine", "Q8_0")
    usage.note_use(path)
    (record,) = (models_directory().parent / "used").iterdir()
    os.utime(record, (0, 0))
    assert usage.last_used(path) == datetime(1970, 1, 1, tzinfo=UTC)
    usage.note_use(path)
    noted = usage.last_used(path)
    assert noted is not None
    assert noted.year > 2000
    assert record.read_text() == str(path)


def test_noting_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LOCALLLM_HOME", str(blocked))
    usage.note_use(tmp_path / "model.gguf")
    usage.note_use(Path("a\0b"))
    assert usage.last_used(tmp_path / "model.gguf") is None
    assert usage.last_used(Path("a\0b")) is None


@pytest.mark.skipif(sys.platform == "win32", reason="there open files cannot be removed anyway")
def test_another_process_is_noticed_until_it_ends() -> None:
    path = put_stored("mine", "Q8_0")
    usage.note_use(path)
    assert not usage.is_in_use(path)  # our own use does not count
    process = start_using(path)
    assert usage.is_in_use(path)
    process.kill()
    process.communicate()
    assert not usage.is_in_use(path)


def test_records_of_what_is_gone_are_found() -> None:
    here, gone = put_stored("mine", "Q8_0"), put_stored("mine", "Q4_0")
    usage.note_use(here), usage.note_use(gone)
    assert list(usage.stale_records()) == []
    gone.unlink()
    assert [record.read_text() for record in usage.stale_records()] == [str(gone)]
    usage.forget(gone)
    assert list(usage.stale_records()) == []
