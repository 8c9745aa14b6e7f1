"""What a reference means: the library first, then paths; the right file when no level is given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from localllm.errors import NotFoundError, UsageError
from localllm.store import (
    existing_file,
    level_in_name,
    model_name,
    models_directory,
    output_path,
    resolve,
    resolve_checkpoint,
    resolve_source,
    shipped_checkpoint,
    stored_models,
)


def put(name: str, level: str, size: int) -> Path:
    path = output_path(name, level)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("x-Q4_K_M.gguf", "Q4_K_M"),
        ("x.q8_0.gguf", "Q8_0"),
        ("x-BF16.gguf", "BF16"),
        ("Q4_K.gguf", None),
        ("xQ4_0.gguf", None),
        ("x-Q9_9.gguf", None),
    ],
)
def test_the_level_in_a_file_name(name: str, level: str | None) -> None:
    assert level_in_name(Path(name)) == level


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("dir/My Model (v2)-Q4_K_M.gguf", "My-Model-v2"),
        ("dir/checkpoint.dir", "checkpoint.dir"),
        ("dir/.hidden-Q8_0.gguf", "hidden"),
        ("dir/***", "model"),
        ("x" * 200, "x" * 80),
    ],
)
def test_names_are_made_of_safe_characters(path: str, name: str) -> None:
    assert model_name(Path(path)) == name


def test_the_library_is_listed_by_name_and_size() -> None:
    put("b", "Q8_0", 9), put("b", "Q2_K", 3), put("a", "F16", 20)
    (models_directory() / "b" / ".b-Q4_0.gguf.part-1").write_bytes(b"")
    assert [(m.name, m.level) for m in stored_models()] == [("a", "F16"), ("b", "Q2_K"), ("b", "Q8_0")]


def test_without_a_level_q4_k_m_is_preferred_then_the_smallest_quantized() -> None:
    put("m", "F16", 1), put("m", "Q8_0", 9), put("m", "Q5_0", 5)
    assert (resolve("m").level, resolve("m").chosen) == ("Q5_0", True)
    put("m", "Q4_K_M", 7)
    assert resolve("m").level == "Q4_K_M"
    assert (resolve("m:q8_0").level, resolve("m:q8_0").chosen) == ("Q8_0", False)


def test_new_files_are_made_from_what_is_not_quantized() -> None:
    put("m", "Q4_K_M", 4)
    assert resolve_source("m").level == "Q4_K_M"
    bf16 = put("m", "BF16", 16)
    assert resolve_source("m").path == bf16
    assert resolve_source("m:Q4_K_M").level == "Q4_K_M"
    put("demo", "Q4_K_M", 4), put("demo", "BF16", 16)
    assert resolve_source("demo").path == shipped_checkpoint("demo")


def test_the_demo_is_always_there() -> None:
    found = resolve("demo:Q6_K")
    assert (found.path, found.level, found.is_checkpoint) == (shipped_checkpoint("demo"), "Q6_K", True)
    with pytest.raises(UsageError, match="there is no GGUF file of it yet") as caught:
        existing_file("demo:Q6_K")
    assert caught.value.hint == "make one with `localllm quantize demo -q Q6_K`"


def test_a_level_that_is_not_there_names_those_that_are() -> None:
    put("m", "Q8_0", 1), put("m", "Q2_K", 1)
    with pytest.raises(UsageError, match="not in the library at Q4_0") as caught:
        resolve("m:Q4_0")
    assert caught.value.hint == "it is there at Q2_K, Q8_0"


def test_an_unknown_name_suggests_the_nearest() -> None:
    put("my-finetune", "Q8_0", 1)
    with pytest.raises(NotFoundError, match="no model called `my-finetun`") as caught:
        resolve("my-finetun")
    assert caught.value.hint == "did you mean `my-finetune`?"


def test_the_library_wins_over_a_file_of_the_same_name(working_directory: Path) -> None:
    (working_directory / "m").mkdir()
    stored = put("m", "Q8_0", 1)
    assert resolve("m").path == stored
    assert resolve("./m").path == Path("m")


def test_a_directory_with_one_gguf_file_stands_for_it(tmp_path: Path) -> None:
    file = tmp_path / "x-Q8_0.gguf"
    file.write_bytes(b"")
    assert resolve(f"{tmp_path}{os.sep}").path == file
    (tmp_path / "x-Q2_K.gguf").write_bytes(b"")
    with pytest.raises(UsageError, match="holds several GGUF files"):
        resolve(f"{tmp_path}{os.sep}")
    assert resolve(f"{tmp_path}{os.sep}:Q2_K").level == "Q2_K"


def test_the_hub_is_not_reached() -> None:
    with pytest.raises(NotFoundError, match="is not on this machine") as caught:
        resolve("org/model:Q4_K_M")
    assert "`localllm pull org/model:Q4_K_M`" in str(caught.value.hint)


def test_the_files_of_a_split_model_are_one_model(tmp_path: Path) -> None:
    whole = put("m", "Q8_0", 7)
    first = put("m", "BF16", 1).rename(whole.with_name("m-BF16-00001-of-00003.gguf"))
    for number in (2, 3):
        first.with_name(f"m-BF16-0000{number}-of-00003.gguf").write_bytes(bytes(10 * number))
    assert [(m.level, m.size_bytes, m.path) for m in stored_models()] == [
        ("Q8_0", 7, whole),
        ("BF16", 51, first),
    ]
    assert resolve("m:bf16").path == first
    whole.unlink()
    assert resolve(f"{first.parent}{os.sep}").path == first
    assert model_name(first) == "m"


def test_a_checkpoint_here_is_converted_before_files_of_the_same_name(working_directory: Path) -> None:
    stored = put("m", "BF16", 1)
    assert resolve_checkpoint("m").path == stored
    (working_directory / "m").mkdir()
    (working_directory / "m" / "config.json").write_text("{}")
    assert resolve_checkpoint("m").path == Path("m")
    assert resolve_source("m").path == stored
