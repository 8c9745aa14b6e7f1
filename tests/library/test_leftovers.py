"""What killed processes left behind goes; what is being worked on, or can be gone on with, stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from localllm.hub.cache import CachedRepo, cached_repo
from localllm.hub.partial import Partial
from localllm.library import provenance, usage
from localllm.library.leftovers import Leftovers, clean, find_leftovers
from localllm.library.provenance import Made
from localllm.store import models_directory
from tests.cli.process import files_below
from tests.library.places import COMMIT, gguf, put_cached, put_stored
from tests.library.test_removal import start_downloading

GONE, ALIVE = 999_999_999, os.getppid()
DAY = 24 * 60 * 60


def found_names(found: Leftovers) -> list[str]:
    return sorted(leftover.path.name for leftover in found.removable)


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then), follow_symlinks=False)


def put_part(repo: CachedRepo, number: str = "c", days: float = 0) -> Path:
    """Put an unfinished download of ours into a cache; return the path of its bytes."""
    part = Partial(repo.blob(number * 64), "m-Q8_0.gguf", 3_000_000)
    part.write(part.attempt, 0, b"z" * 1_048_576)
    part.mark(part.attempt, 0, 1_048_576)
    part.close()
    for path in (part.data_path, part.state_path):
        age(path, days)
    return part.data_path


def test_nothing_is_left_behind_where_nobody_was() -> None:
    assert find_leftovers() == Leftovers((), ())


def test_parts_of_dead_processes_in_the_library() -> None:
    directory = put_stored("mine", "Q8_0").parent
    for owner in (GONE, ALIVE):
        (directory / f".mine-Q4_0.gguf.part-{owner}").write_bytes(b"part")
        (models_directory() / f".merged.part-{owner}").mkdir()
        (models_directory() / f".merged.part-{owner}" / "config.json").write_bytes(b"{}")
        (models_directory() / f".convert-{owner}").mkdir()
        (directory / f".convert-{owner}").mkdir()
    found = find_leftovers()
    assert found_names(found) == [
        f".convert-{GONE}",
        f".convert-{GONE}",
        f".merged.part-{GONE}",
        f".mine-Q4_0.gguf.part-{GONE}",
    ]
    result = clean(found)
    assert result.freed_bytes == len(b"part") + len(b"{}")
    assert not any(path.exists() for path in result.removed)
    assert find_leftovers() == Leftovers((), ())
    assert (directory / f".mine-Q4_0.gguf.part-{ALIVE}").exists()


def test_records_without_a_model() -> None:
    kept, gone = put_stored("mine", "Q8_0"), put_stored("mine", "Q4_0")
    for path in (kept, gone):
        provenance.record([path], Made("quantize", "x"))
        usage.note_use(path)
    gone.unlink()
    usage._release(usage._record(gone))
    assert len(found_names(find_leftovers())) == 2
    clean(find_leftovers())
    assert provenance.read(kept) is not None
    assert provenance.read(gone) is None


def test_what_other_tools_did_not_finish() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": gguf()})
    etag = next(repo.snapshot(COMMIT).iterdir()).resolve().name
    known, unknown = (repo.folder / "blobs" / f"{name}.1a2b3c4d.incomplete" for name in (etag, "f" * 64))
    for path in (known, unknown):
        path.write_bytes(b"1234")
    assert found_names(find_leftovers()) == [known.name]  # nobody holds its lock; the other one has none
    age(unknown, 2)
    process = start_downloading(repo.lock(etag))
    assert found_names(find_leftovers()) == []  # something of this repository is on its way
    process.kill()
    process.communicate()
    assert clean(find_leftovers()).freed_bytes == 8
    assert sorted(path.name for path in (repo.folder / "blobs").iterdir()) == [etag]


def test_what_a_download_begins_between_finding_and_cleaning_stays() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": gguf()})
    etag = next(repo.snapshot(COMMIT).iterdir()).resolve().name
    part = repo.folder / "blobs" / f"{etag}.1a2b3c4d.incomplete"
    part.write_bytes(b"1234")
    found = find_leftovers()
    process = start_downloading(repo.lock(etag))
    told: list[str] = []
    assert clean(found, emit=lambda event: told.append(str(event))).removed == ()
    assert "is being worked on; it stays" in told[0]
    process.kill()
    process.communicate()
    assert part.exists()


@pytest.mark.parametrize(
    ("days", "everything", "goes"), [(1, False, False), (8, False, True), (1, True, True)]
)
def test_downloads_that_pull_goes_on_with_are_kept_a_week(days: float, everything: bool, goes: bool) -> None:
    repo = cached_repo("org/new")  # nothing of it has come whole
    data = put_part(repo, days=days)
    whole = repo.blob("d" * 64)
    whole.write_bytes(b"no snapshot has it yet")
    age(whole, days)
    found = find_leftovers(include_resumable=everything)
    assert (len(found.removable), len(found.kept)) == ((3, 0) if goes else (0, 3))
    told: list[str] = []
    clean(found, emit=lambda event: told.append(getattr(event, "topic", "")))
    assert data.exists() is not goes
    assert told == ([] if goes else ["resumable"])


def test_a_state_is_as_young_as_the_bytes_it_is_about() -> None:
    data = put_part(cached_repo("org/new"), days=9)
    age(data, 0)
    assert find_leftovers().removable == ()


def test_downloads_from_web_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = put_stored("mine", "Q8_0").parent
    part = Partial(directory / ".mine-Q4_0.gguf", "mine-Q4_0.gguf", 2_000_000, "etag")
    part.write(part.attempt, 0, b"z" * 1_048_576)
    part.close()
    assert len(find_leftovers().kept) == 2
    process = start_downloading(directory / ".mine-Q4_0.gguf.lock")
    assert find_leftovers(include_resumable=True) == Leftovers((), ())
    process.kill()
    process.communicate()
    clean(find_leftovers(include_resumable=True))
    assert [path.name for path in directory.glob("*.gguf")] == ["mine-Q8_0.gguf"]
    assert not list(directory.glob("*.localllm.*"))


def test_links_to_nothing_and_links_that_were_being_made() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": gguf(), "m-Q4_0.gguf": gguf(payload=b"1")})
    snapshot = repo.snapshot(COMMIT)
    (snapshot / "m-Q4_0.gguf").resolve().unlink()
    for owner in (GONE, ALIVE):
        (snapshot / f".x.gguf.{owner}.link").symlink_to("../../blobs/x")
    found = find_leftovers()
    assert found_names(found) == [f".x.gguf.{GONE}.link", "m-Q4_0.gguf"]
    clean(found)
    left = sorted(path.name for path in snapshot.iterdir())
    assert left == [f".x.gguf.{ALIVE}.link", "m-Q8_0.gguf"]


def test_nothing_of_copies_is_taken_for_forgotten() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": gguf()}, copies=True)
    blob = repo.blob("d" * 64)
    blob.write_bytes(b"x")
    age(blob, 30)
    assert find_leftovers() == Leftovers((), ())


def test_what_is_no_model_is_left_alone() -> None:
    root = put_cached("org/m", {"m-Q8_0.gguf": gguf()}).folder.parent
    theirs = root / "datasets--org--d" / "blobs" / f"{'f' * 64}.incomplete"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"x")
    age(theirs, 30)
    before = files_below(root)
    clean(find_leftovers(include_resumable=True))
    assert files_below(root) == before
