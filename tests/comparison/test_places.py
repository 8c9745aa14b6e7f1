"""What comparisons leave on the disk: limited, cleaned, and never half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from localllm.comparison.digests import digest_of
from localllm.comparison.places import (
    comparisons_directory,
    forget_old_references,
    read_json,
    references_directory,
    remove_leftovers,
    write_json,
)
from localllm.errors import StorageError


def reference(name: str, size: int, used: float) -> Path:
    directory = references_directory() / name
    (directory / "reference").mkdir(parents=True)
    (directory / "reference" / "chunk").write_bytes(bytes(size))
    os.utime(directory, (used, used))
    return directory


def test_the_oldest_references_go_first() -> None:
    old, middle, new = (reference(name, 100, used) for name, used in (("b", 1), ("a", 2), ("c", 3)))
    forget_old_references(limit_bytes=250)
    assert [path.exists() for path in (old, middle, new)] == [False, True, True]
    forget_old_references(keep=[middle], limit_bytes=150)
    assert [path.exists() for path in (old, middle, new)] == [False, True, False]
    forget_old_references(limit_bytes=50)
    assert not middle.exists()


def test_nothing_to_forget() -> None:
    forget_old_references()
    remove_leftovers()


def test_leftovers_of_processes_that_are_gone() -> None:
    place = comparisons_directory() / "results" / "x.json"
    write_json(place, {"a": 1})
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    gone = place.with_name(f".x.json.part-{int(child.stdout)}")
    running = place.with_name(f".x.json.part-{os.getppid()}")
    directory = reference("a", 1, 1.0)
    scores = directory / f".{int(child.stdout)}-model-0-8.npz"
    kept = directory / "model-0-8.npz"
    for path in (gone, running, scores, kept):
        path.touch()
    remove_leftovers()
    assert [path.exists() for path in (gone, running, scores, kept)] == [False, True, False, True]
    assert read_json(place) == {"a": 1}


def test_a_write_that_fails_leaves_nothing() -> None:
    place = comparisons_directory() / "results" / "x.json"
    write_json(place, {"a": 1})
    with pytest.raises(TypeError):
        write_json(place, {"a": object()})
    assert read_json(place) == {"a": 1}
    assert [path.name for path in place.parent.iterdir()] == ["x.json"]


def test_an_unchanged_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"one")
    first = digest_of([path])
    monkeypatch.setattr("localllm.comparison.digests._digest", lambda paths, emit: "again")
    assert digest_of([path]) == first
    path.write_bytes(b"two")
    assert digest_of([path]) == "again"


def test_the_digest_is_that_of_all_files_together(tmp_path: Path) -> None:
    parts = [tmp_path / name for name in ("a", "b", "whole")]
    for path, content in zip(parts, (b"left", b"right", b"leftright"), strict=True):
        path.write_bytes(content)
    assert digest_of(parts[:2]) == digest_of(parts[2:])


def test_a_damaged_memo_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"one")
    digest = digest_of([path])
    (memo,) = (comparisons_directory() / "digests").iterdir()
    for damage in ("", "[]", '{"files": 3}'):
        memo.write_text(damage)
        assert digest_of([path]) == digest


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        digest_of([tmp_path / "missing.gguf"])
