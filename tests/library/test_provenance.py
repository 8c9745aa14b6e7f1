"""The record of how a model was made: written whole or not at all, read back, and never a reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm import __version__
from localllm.events import Event, Notice, ignore
from localllm.library import provenance
from localllm.library.entries import Source, list_entries
from localllm.library.provenance import FileRecord, Made, Origin
from localllm.verbs.library import show
from localllm.verbs.records import record_made
from tests.library.places import COMMIT, checkpoint_files, gguf, put_cached, put_checkpoint, put_stored

MADE = Made(
    "quantize",
    "org/base",
    Origin("org/base", COMMIT, ("main",)),
    adapters=("extra",),
    options={"level": "Q8_0", "pure": True},
    imatrix="mine-imatrix.gguf",
)


def test_a_record_is_read_as_it_was_written() -> None:
    path = put_stored("mine", "Q8_0")
    provenance.record([path], MADE)
    assert provenance.record_path(path).name == ".mine-Q8_0.made.json"
    found = provenance.read(path)
    assert found is not None
    assert (found.made, found.localllm) == (MADE, __version__)
    assert found.llama_cpp
    assert found.llama_cpp.startswith("0.3.")
    assert found.files == (FileRecord(path.name, path.stat().st_size),)


def test_one_record_for_all_parts_and_one_in_a_checkpoint() -> None:
    parts = [put_stored("mine", f"Q8_0-0000{number}-of-00002") for number in (1, 2)]
    provenance.record(parts, MADE)
    assert [path.name for path in parts[0].parent.glob(".*")] == [".mine-Q8_0.made.json"]
    directory = put_checkpoint("merged")
    provenance.record([directory], Made("merge", "org/base"))
    found = provenance.read(directory)
    assert found is not None
    assert {file.name for file in found.files} == set(checkpoint_files())
    sources = {entry.name: entry.source for entry in list_entries().entries}
    assert (sources["mine:Q8_0"], sources["merged"]) == (Source.QUANTIZED, Source.MERGED)


def test_nothing_is_written_outside_the_library(tmp_path: Path) -> None:
    path = tmp_path / "x-Q8_0.gguf"
    path.write_bytes(gguf())
    provenance.record([path], MADE)
    assert [found.name for found in tmp_path.iterdir()] == ["x-Q8_0.gguf"]


def test_a_record_that_cannot_be_written_is_a_notice() -> None:
    path = put_stored("mine", "Q8_0")
    provenance.record_path(path).mkdir()
    told: list[Event] = []
    provenance.record([path], MADE, emit=told.append)
    provenance.record([path.with_name("gone.gguf")], MADE, emit=told.append)
    assert [isinstance(event, Notice) and event.topic for event in told] == ["provenance"] * 2


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"schema": 2}', '{"schema": 1, "made": {}}', '{"schema": 1, "files": 3}'],
)
def test_a_damaged_record_counts_as_none(content: str) -> None:
    path = put_stored("mine", "Q8_0")
    provenance.record_path(path).write_text(content)
    assert provenance.read(path) is None
    assert [entry.source for entry in list_entries("mine").entries] == [Source.LOCAL]


def test_a_file_that_was_replaced_was_not_made_like_that() -> None:
    path = put_stored("mine", "Q8_0")
    provenance.record([path], MADE)
    path.write_bytes(gguf(payload=b"another"))
    assert [entry.source for entry in list_entries("mine").entries] == [Source.LOCAL]
    assert show("mine").model.made is None


def test_where_a_pulled_path_comes_from(tmp_path: Path) -> None:
    repo = put_cached("org/base", checkpoint_files())
    expected = Origin("org/base", COMMIT, ("main",))
    assert provenance.origin_of(repo.snapshot(COMMIT)) == expected
    assert provenance.origin_of(repo.snapshot(COMMIT) / "config.json") == expected
    assert provenance.origin_of(tmp_path / "snapshots" / COMMIT) is None
    assert provenance.origin_of(tmp_path) is None


def test_what_is_shown_of_a_model_that_was_made() -> None:
    path = put_stored("mine", "Q8_0")
    provenance.record([path], MADE)
    shown = show("mine").model
    assert (shown.made, shown.origin, shown.localllm) == (MADE, MADE.origin, __version__)
    assert [file.sha256 for file in shown.files] == [None]


def test_what_is_shown_of_a_model_that_was_pulled() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": gguf(), "m-Q4_K_M.gguf": gguf(payload=b"1")})
    told: list[Event] = []
    shown = show("org/m", emit=told.append).model
    assert shown.entry.name == "org/m:Q4_K_M"
    assert [event.message for event in told if isinstance(event, Notice)] == [
        "showing org/m:Q4_K_M; write another level behind the colon"
    ]
    assert shown.origin == Origin("org/m", COMMIT, ("main",))
    blob = (repo.snapshot(COMMIT) / "m-Q4_K_M.gguf").resolve()
    assert [file.sha256 for file in shown.files] == [blob.name]
    assert shown.made is None


def test_a_source_is_found_again_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put_stored("mine", "Q8_0")
    monkeypatch.chdir(tmp_path)
    record_made("quantize", path, Path("my-finetune"), emit=ignore)
    found = provenance.read(path)
    assert found is not None
    assert found.made is not None
    assert found.made.source == str(tmp_path / "my-finetune")
