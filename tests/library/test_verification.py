"""Checks of what is on disk: damage is found wherever it is, and what is well is not blamed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from localllm.errors import NotFoundError, UsageError
from localllm.events import Advanced, Event, Finished, Started
from localllm.library import provenance, verification
from localllm.library.provenance import FileRecord, Made
from localllm.library.verification import FileCheck, Status
from localllm.store import models_directory
from localllm.verbs.library import verify
from tests.library.places import (
    COMMIT,
    OTHER,
    checkpoint_files,
    gguf,
    put_cached,
    put_checkpoint,
    put_stored,
)


def statuses(*models: str) -> dict[str, Status]:
    return {check.path.name: check.status for check in verify(models).files}


def damage(path: Path, offset: int = -1) -> None:
    """Flip a bit of a file, which keeps its length."""
    path = path.resolve()
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("copies", [False, True])
def test_pulled_files_are_compared_with_the_hubs_hashes(copies: bool) -> None:
    files = {"m-Q8_0.gguf": gguf(payload=b"x" * 9_000_000), "m-Q4_0.gguf": gguf(), "README.md": b"hello"}
    repo = put_cached("org/m", files, copies=copies)
    assert statuses("org/m") == dict.fromkeys(files, Status.OK)
    damage(repo.snapshot(COMMIT) / "m-Q8_0.gguf", 4_500_000)
    damage(repo.snapshot(COMMIT) / "README.md")
    wrong = {check.path.name: check for check in verify(["org/m"]).wrong}
    assert set(wrong) == {"m-Q8_0.gguf", "README.md"}
    check = wrong["m-Q8_0.gguf"]
    assert (check.status, check.model, check.is_pulled) == (Status.DAMAGED, "org/m:Q8_0", True)
    assert statuses("org/m:Q4_0") == {"m-Q4_0.gguf": Status.OK}


def test_a_pulled_file_of_the_wrong_length_is_not_even_read() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": gguf(payload=b"x" * 100)})
    os.truncate((repo.snapshot(COMMIT) / "m-Q8_0.gguf").resolve(), 90)
    (check,) = verify(["org/m"]).wrong
    assert check.detail == f"90 bytes instead of {len(gguf(payload=b'x' * 100))}"


def test_links_to_nothing_and_missing_parts_are_found() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": gguf(), "s-Q4_0-00001-of-00002.gguf": gguf(payload=b"1")})
    (repo.snapshot(COMMIT) / "m-Q8_0.gguf").resolve().unlink()
    assert statuses("org/m") == {"m-Q8_0.gguf": Status.DAMAGED, "s-Q4_0-00001-of-00002.gguf": Status.OK}
    assert statuses("org/m:Q4_0")["s-Q4_0-00001-of-00002.gguf"] is Status.DAMAGED


def test_where_nobody_knows_a_checksum_that_is_said() -> None:
    put_cached("org/m", {"m-Q8_0.gguf": gguf()}, copies=True, tree=False)
    assert statuses("org/m") == {"m-Q8_0.gguf": Status.UNKNOWN}


def test_contents_that_are_there_twice_are_read_once() -> None:
    put_cached("org/m", {"m-Q8_0.gguf": gguf()}, revision="v1")
    put_cached("org/m", {"m-Q8_0.gguf": gguf()}, commit=OTHER)
    assert len(verify(["org/m", "org/m:Q8_0"]).files) == 1


def test_the_first_check_of_the_library_writes_checksums_down_the_next_compares() -> None:
    path = put_stored("mine", "Q8_0", gguf(payload=b"x" * 1000))
    (check,) = verify(["mine"]).files
    assert (check.status, check.is_recorded) == (Status.OK, True)
    (check,) = verify(["mine"]).files
    assert (check.status, check.is_recorded) == (Status.OK, False)
    damage(path)
    (check,) = verify(["mine"]).files
    assert (check.status, check.detail) == (Status.CHANGED, "its checksum is not the one on record")
    path.write_bytes(gguf())
    assert statuses("mine:Q8_0") == {path.name: Status.CHANGED}


def test_a_record_keeps_how_a_model_was_made_when_it_gets_checksums() -> None:
    parts = [put_stored("mine", f"Q8_0-0000{number}-of-00002") for number in (1, 2)]
    made = Made("quantize", "x")
    provenance.record(parts, made)
    verify(["mine"])
    found = provenance.read(parts[0])
    assert found is not None
    assert found.made == made
    assert all(file.sha256 for file in found.files)


def test_damaged_headers_and_missing_parts_of_the_library() -> None:
    put_stored("mine", "Q8_0", gguf()[:50]), put_stored("mine", "Q4_0-00001-of-00002")
    assert statuses("mine") == {
        "mine-Q8_0.gguf": Status.DAMAGED,
        "mine-Q4_0-00001-of-00002.gguf": Status.DAMAGED,
    }
    assert not list(models_directory().rglob("*.made.json"))


def test_checkpoints_of_the_library() -> None:
    directory = put_checkpoint("mine")
    assert statuses("mine") == dict.fromkeys(checkpoint_files(), Status.OK)
    assert not list(directory.glob(".*"))  # nothing is written into what is the user's
    os.truncate(directory / "model.safetensors", 70)
    (directory / "config.json").write_text("{")
    assert {check.path.name for check in verify(["mine"]).wrong} == {"model.safetensors", "config.json"}


def test_nothing_is_written_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "x-Q8_0.gguf").write_bytes(gguf())
    models_directory().mkdir(parents=True)
    (models_directory() / "mine").symlink_to(tmp_path)
    assert statuses("mine") == {"x-Q8_0.gguf": Status.OK}
    assert [path.name for path in tmp_path.iterdir()] == ["x-Q8_0.gguf"]


def test_a_merged_checkpoint_is_compared_with_its_record() -> None:
    directory = put_checkpoint("merged")
    provenance.record([directory], Made("merge", "x"))
    assert set(statuses("merged").values()) == {Status.OK}
    damage(directory / "model.safetensors")
    assert statuses("merged")["model.safetensors"] is Status.CHANGED


def test_without_names_everything_is_checked() -> None:
    put_stored("mine", "Q8_0")
    put_cached("org/m", {"m-Q8_0.gguf": gguf(), "README.md": b"x"})
    names = [check.path.name for check in verify().files]
    assert {"mine-Q8_0.gguf", "m-Q8_0.gguf", "README.md", "model.safetensors"} <= set(names)


def test_a_file_that_cannot_be_read_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    path = put_stored("mine", "Q8_0")
    monkeypatch.setattr(verification, "_READ_BYTES", 16)
    opened = Path.open

    def failing(self: Path, *arguments: object, **options: object) -> object:
        if self == path and options:
            raise OSError(5, "Input/output error")
        return opened(self, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", failing)
    (check,) = verify(["mine"]).files
    assert (check.status, check.detail) == (Status.DAMAGED, "it cannot be read: Input/output error")


def test_names_that_are_not_there() -> None:
    with pytest.raises(NotFoundError, match="`nobody` is not in the library"):
        verify(["nobody"])
    with pytest.raises(NotFoundError, match="`org/none` is not on this machine"):
        verify(["org/none"])
    with pytest.raises(UsageError):
        verify(["./x.gguf"])


def test_progress_is_told_by_the_calling_thread() -> None:
    put_cached("org/m", {"m-Q8_0.gguf": gguf(payload=b"x" * 20_000_000)})
    events: list[Event] = []

    def emit(event: Event) -> None:
        assert threading.current_thread() is threading.main_thread()
        events.append(event)

    verify(["org/m"], emit=emit)
    total = len(gguf(payload=b"x" * 20_000_000))
    assert events[0] == Started("verify", total, "bytes")
    assert events[-2:] == [Advanced("verify", total), Finished("verify")]


def test_a_check_that_is_interrupted_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    put_cached("org/m", {f"m-{level}.gguf": gguf(payload=level.encode()) for level in ("Q8_0", "Q4_0")})

    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(["org/m"], emit=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("verify")]


def test_a_failed_check_writes_nothing_down() -> None:
    good, bad = put_stored("mine", "Q8_0-00001-of-00002"), put_stored("mine", "Q8_0-00002-of-00002", b"GGUF")
    assert len(verify(["mine"]).wrong) == 1
    assert provenance.read(good) is None
    assert bad.exists()


def test_a_record_without_this_file_is_completed() -> None:
    path = put_stored("mine", "Q8_0")
    provenance.add_checksums(path, [FileRecord("other.gguf", 1, "0" * 64)])
    (check,) = verify(["mine"]).files
    assert isinstance(check, FileCheck)
    found = provenance.read(path)
    assert found is not None
    assert found.sha256_of(path) == check.sha256
