"""What is listed: everything a command accepts, under the name it accepts; nothing breaks the list."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.bases import adapter_directory
from localllm.library.entries import Entry, Source, list_entries
from localllm.library.found import Kind
from localllm.store import models_directory, output_path, resolve, shipped_checkpoint
from tests.library.places import (
    COMMIT,
    OTHER,
    adapter_files,
    checkpoint_files,
    gguf,
    put_cached,
    put_checkpoint,
    put_stored,
)

SHIPPED = ["demo", "demo-persona"]


def listed(pattern: str | None = None) -> dict[str, Entry]:
    return {entry.name: entry for entry in list_entries(pattern).entries if entry.name not in SHIPPED}


def test_what_ships_is_always_there() -> None:
    entries = list_entries().entries
    assert [(entry.name, entry.kind, entry.source) for entry in entries] == [
        ("demo", Kind.CHECKPOINT, Source.SHIPPED),
        ("demo-persona", Kind.ADAPTER, Source.SHIPPED),
    ]
    assert entries[0].path == shipped_checkpoint("demo")
    assert entries[0].context_length == 1024


def test_files_of_the_library() -> None:
    path = put_stored("mine", "Q4_K_M", gguf("gemma3", 131072))
    entry = listed()["mine:Q4_K_M"]
    assert (entry.level, entry.path, entry.size_bytes) == ("Q4_K_M", path, path.stat().st_size)
    assert (entry.architecture, entry.context_length) == ("gemma3", 131072)
    assert (entry.last_used, entry.source, entry.problem) == (None, Source.LOCAL, None)


def test_checkpoints_and_adapters_of_the_library() -> None:
    put_checkpoint("mine"), put_checkpoint("extra", adapter=True)
    put_stored("mine", "Q8_0")
    entries = listed()
    assert list(entries) == ["extra", "mine:Q8_0", "mine"]
    assert (entries["mine"].kind, entries["mine"].context_length) == (Kind.CHECKPOINT, 32768)
    assert (entries["extra"].kind, entries["extra"].architecture) == (Kind.ADAPTER, "lora")


def test_pulled_quantizations_and_checkpoints() -> None:
    put_cached(
        "org/Model-GGUF",
        {"model-q4_k_m.gguf": gguf(), "model-Q8_0.gguf": gguf("llama", 4096), "README.md": b"hello"},
    )
    put_cached("org/base", checkpoint_files())
    put_cached("org/lora", adapter_files())
    entries = listed()
    assert list(entries) == ["org/Model-GGUF:Q8_0", "org/Model-GGUF:Q4_K_M", "org/base", "org/lora"]
    assert {entry.source for entry in entries.values()} == {Source.PULLED}
    assert entries["org/Model-GGUF:Q8_0"].architecture == "llama"
    assert [entries[name].kind for name in ("org/base", "org/lora")] == [Kind.CHECKPOINT, Kind.ADAPTER]


def test_every_name_is_what_a_command_accepts(working_directory: Path) -> None:
    put_stored("mine", "Q4_K_M"), put_stored("mine", "F16"), put_checkpoint("mine")
    put_stored("one", "Q8_0")
    output_path("plain", "x").parent.mkdir(parents=True)
    output_path("plain", "x").with_name("plain.gguf").write_bytes(gguf())
    twice = {"a-Q4_K_M.gguf": gguf(), "sub/b-Q4_K_M.gguf": gguf(payload=b"1"), "c-UD-Q4_K_XL.gguf": gguf()}
    put_cached("org/twice", twice)
    put_cached("org/moved", {"m-Q8_0.gguf": gguf(payload=b"old"), "m-Q2_K.gguf": gguf()}, revision="v1")
    put_cached("org/moved", {"m-Q8_0.gguf": gguf(payload=b"new")}, commit=OTHER)
    put_cached("org/base", checkpoint_files())
    put_cached("org/nameless", {"weights.gguf": gguf()})
    entries = listed()
    assert sorted(entries) == [
        "hf:org/twice/sub/b-Q4_K_M.gguf",
        "mine",
        "mine:F16",
        "mine:Q4_K_M",
        "one:Q8_0",
        "org/base",
        "org/moved:Q2_K",
        "org/moved:Q8_0",
        "org/moved@v1:Q8_0",
        "org/nameless/weights.gguf",
        "org/twice/a-Q4_K_M.gguf",
        "org/twice:UD-Q4_K_XL",
        "plain",
    ]
    for name, entry in entries.items():
        if name != "mine":  # without a level that means a file of it; `quantize mine` takes the checkpoint
            assert resolve(name).path == entry.path, name
    put_checkpoint("extra", adapter=True)
    assert adapter_directory("extra") == listed("extra")["extra"].path


def test_split_models_are_one(tmp_path: Path) -> None:
    parts = {f"Q8_0/big-Q8_0-0000{number}-of-00003.gguf": gguf(payload=b"x" * number) for number in (1, 2, 3)}
    put_cached("org/big", parts)
    for number in (1, 2):
        put_stored("mine", f"Q8_0-0000{number}-of-00002", gguf(payload=b"y" * number))
    entries = listed()
    assert list(entries) == ["mine:Q8_0", "org/big:Q8_0"]
    assert [len(entry.files) for entry in entries.values()] == [2, 3]
    assert entries["org/big:Q8_0"].size_bytes == sum(map(len, parts.values()))


def test_incomplete_models_are_counted_not_listed() -> None:
    put_cached("org/big", {"big-Q8_0-00001-of-00003.gguf": gguf()})
    put_stored("mine", "Q8_0-00002-of-00002")
    shards = {**checkpoint_files(), "model.safetensors.index.json": b'{"weight_map": {"a": "x.safetensors"}}'}
    put_cached("org/base", shards)
    put_cached("org/tokenizer", {"config.json": b"{}", "tokenizer.json": b"{}"})  # not even weights
    assert list(listed()) == []
    assert list_entries().incomplete == ("mine:Q8_0", "org/base", "org/big:Q8_0")


def test_damaged_files_are_listed_as_such() -> None:
    put_stored("empty", "Q8_0", b""), put_stored("noise", "Q8_0", b"not a model at all, sorry")
    put_stored("short", "Q8_0", gguf()[:40])
    put_checkpoint("broken").joinpath("config.json").write_text("{")
    put_cached("org/bad", {"bad-Q4_0.gguf": b"GGUF" + bytes(5)})
    entries = listed()
    assert list(entries) == ["broken", "empty:Q8_0", "noise:Q8_0", "short:Q8_0", "org/bad:Q4_0"]
    assert all((entry.problem or "").startswith("damaged: ") for entry in entries.values())


def test_a_checkpoint_of_the_library_without_its_weights_is_listed_with_that() -> None:
    put_checkpoint("mine").joinpath("model.safetensors").unlink()
    assert listed()["mine"].problem == "weights are missing"


def test_projectors_and_importance_matrices_are_no_models() -> None:
    put_stored("mine", "imatrix"), put_stored("mine", "Q8_0", gguf(kind="imatrix", context=None))
    put_cached("org/vision", {"mmproj-F16.gguf": gguf(), "v-Q4_0.gguf": gguf(kind="mmproj", context=None)})
    assert list(listed()) == []


def test_encoders_in_the_cache_are_not_listed() -> None:
    encoder = {**checkpoint_files(), "config.json": b'{"model_type": "bert", "architectures": ["BertModel"]}'}
    put_cached("org/embeddings", encoder)
    sees = b'{"architectures": ["Gemma3ForConditionalGeneration"], "text_config": {"n_positions": 512}}'
    put_cached("org/sees", {**checkpoint_files(), "config.json": sees})
    assert list(listed()) == ["org/sees"]
    assert listed()["org/sees"].context_length == 512


def test_gguf_adapters_are_adapters() -> None:
    put_stored("extra", "F32", gguf("llama", None, kind="adapter"))
    assert listed()["extra:F32"].kind is Kind.ADAPTER


@pytest.mark.parametrize("tokens", [10, 20_000])
def test_facts_behind_the_vocabulary_are_found_too(tokens: int) -> None:
    put_stored("mine", "Q8_0", gguf("gemma3", 8192, tokens=tokens, late=True))
    assert listed()["mine:Q8_0"].context_length == 8192


def test_the_same_contents_at_two_commits_are_one() -> None:
    files = {"m-Q8_0.gguf": gguf()}
    put_cached("org/m", {**files, "README.md": b"old"}, revision="v1")
    put_cached("org/m", {**files, "README.md": b"new"}, commit=OTHER)
    entries = listed()
    assert list(entries) == ["org/m:Q8_0"]
    assert OTHER in str(entries["org/m:Q8_0"].path)


def test_copies_instead_of_links_are_found() -> None:
    put_cached("org/m", {"m-Q8_0.gguf": gguf()}, copies=True)
    assert list(listed()) == ["org/m:Q8_0"]


def test_without_a_main_branch_and_without_a_tree() -> None:
    put_cached("org/m", {"m-Q8_0.gguf": gguf()}, revision=None, tree=False)
    assert resolve("org/m:Q8_0").path == listed()["org/m:Q8_0"].path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("MINE", ["mine:Q8_0"]),
        ("q8", ["mine:Q8_0", "org/m:Q8_0"]),
        ("org/*", ["org/m:Q8_0"]),
        ("*q4*", []),
    ],
)
def test_patterns(pattern: str, names: list[str]) -> None:
    put_stored("mine", "Q8_0")
    put_cached("org/m", {"m-Q8_0.gguf": gguf()})
    assert list(listed(pattern)) == names


def test_hidden_and_foreign_things_are_passed_over(pinned_environment: Path) -> None:
    root = models_directory()
    (root / ".half.part-1").mkdir(parents=True)
    (root / ".half.part-1" / "config.json").write_text("{}")
    (root / "notes.txt").write_text("")
    (root / "empty").mkdir()
    cache = put_cached("org/m", {}).folder.parent
    (cache / "datasets--org--d" / "snapshots").mkdir(parents=True)
    (cache / "models--.." / "snapshots").mkdir(parents=True)
    (cache / "version.txt").write_text("1")
    assert list(listed()) == []


def test_names_that_cannot_be_typed_are_paths() -> None:
    path = put_stored("my model", "Q8_0")
    assert list(listed()) == [str(path)]
    assert resolve(str(path)).path == path


def test_two_files_at_a_level_the_name_means_the_one_that_is_resolved() -> None:
    first, second = put_stored("mine", "Q8_0", gguf()), output_path("mine", "Q8_0").with_name("b-Q8_0.gguf")
    second.write_bytes(gguf(payload=b"larger"))
    entries = listed()
    assert set(entries) == {"mine:Q8_0", str(first)}
    assert resolve("mine:Q8_0").path == entries["mine:Q8_0"].path == second


def test_links_to_nothing_do_not_break_the_list() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": gguf(), "m-Q4_0.gguf": gguf(payload=b"1")})
    link = repo.snapshot(COMMIT) / "m-Q4_0.gguf"
    link.unlink()
    link.symlink_to("../../blobs/nothing")
    path = put_stored("mine", "Q8_0")
    path.with_name("mine-Q4_0.gguf").symlink_to("nowhere")
    assert list(listed()) == ["mine:Q8_0", "org/m:Q8_0"]
