"""Files as their headers describe them, and which of them are of one model."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.comparison.subject import distinctly_named, most_precise, require_one_model, subject_of
from localllm.errors import InvalidGGUFError, UsageError
from localllm.gguf_file.format import Key
from localllm.gguf_file.writer import string, uint32
from tests.tiny_gguf import build_tiny_gguf


def test_a_file_is_described(demo_files: dict[str, Path]) -> None:
    found = subject_of(demo_files["Q4_K_M"])
    assert found.level == "Q4_K_M"
    assert found.size_bytes == demo_files["Q4_K_M"].stat().st_size
    assert found.parameters == 3_672_320
    assert 4 < found.bits_per_weight < 6
    assert found.running_bytes(1024) > found.weight_bytes
    assert found.has_template
    assert len(found.sha256) == 64


def test_levels_of_one_model_belong_together(demo_files: dict[str, Path]) -> None:
    require_one_model([subject_of(path) for path in demo_files.values()])


def test_another_vocabulary_is_refused(demo_files: dict[str, Path], narrow_gguf: Path) -> None:
    with pytest.raises(UsageError, match="have different vocabularies: they cannot be compared") as raised:
        require_one_model([subject_of(demo_files["Q2_K"]), subject_of(narrow_gguf)])
    assert raised.value.hint
    assert "\n" not in raised.value.message


def test_another_architecture_is_refused(tmp_path: Path, narrow_gguf: Path) -> None:
    llama = subject_of(narrow_gguf)
    overrides = {Key.ARCHITECTURE: string("qwen2")}
    kept = {key: None for key in llama.header.metadata if key.startswith("llama.")}
    moved = {key.replace("llama.", "qwen2."): llama.header.integer(key) for key in kept}
    other = build_tiny_gguf(
        tmp_path / "other.gguf",
        width=64,
        layers=1,
        overrides={
            **overrides,
            **kept,
            **{key: uint32(value) for key, value in moved.items() if value is not None},
        },
    )
    with pytest.raises((UsageError, InvalidGGUFError)) as raised:
        require_one_model([llama, subject_of(other)])
    if isinstance(raised.value, UsageError):
        assert "is a llama model and" in raised.value.message


def test_the_most_precise_file(demo_files: dict[str, Path]) -> None:
    subjects = [subject_of(path) for path in demo_files.values()]
    assert most_precise(subjects).level == "BF16"
    assert most_precise([each for each in subjects if each.level != "BF16"]).level == "Q8_0"


def test_two_files_of_one_level_are_told_apart_by_their_names(
    tmp_path: Path, demo_files: dict[str, Path]
) -> None:
    paths = [demo_files["Q2_K"], tmp_path / "with-matrix-Q2_K.gguf", tmp_path / "other" / "demo-Q8_0.gguf"]
    paths[1].write_bytes(demo_files["Q2_K"].read_bytes())
    paths[2].parent.mkdir()
    paths[2].write_bytes(demo_files["Q8_0"].read_bytes())
    subjects = [subject_of(path) for path in [*paths, demo_files["Q8_0"], demo_files["BF16"]]]
    assert [subject.level for subject in distinctly_named(subjects)] == [
        "demo-Q2_K",
        "with-matrix-Q2_K",
        str(paths[2]),
        str(demo_files["Q8_0"]),
        "BF16",
    ]
