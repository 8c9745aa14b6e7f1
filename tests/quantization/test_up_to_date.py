"""Files that are already what quantizing would write are kept, and only those."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from localllm.assembly import Recipe
from localllm.errors import SameFileError, StorageError
from localllm.pipeline import open_source, runnable_file
from localllm.quantization.levels import LEVELS
from localllm.quantization.options import Override, QuantizationOptions
from localllm.quantization.quantize import plan_quantization, quantize
from localllm.store import Resolved, shipped_checkpoint
from tests.quantization.making import make
from tests.tiny_gguf import build_tiny_gguf


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = build_tiny_gguf(tmp_path / "tiny-F32.gguf", layers=1)
    os.utime(path, (1, 1))
    return path


def test_the_second_run_keeps_what_is_there(source: Path, tmp_path: Path) -> None:
    make(source, ["Q8_0"], tmp_path)
    first, second = make(source, ["Q8_0", "Q4_0"], tmp_path, force=False)
    assert (first.kept, second.kept) == (True, False)
    assert first.seconds == 0.0
    assert make(source, ["Q8_0"], tmp_path, force=True)[0].kept is False


def test_a_changed_source_is_quantized_again(source: Path, tmp_path: Path) -> None:
    """Also when a copy keeps its old modification time."""
    make(source, ["Q8_0"], tmp_path)
    build_tiny_gguf(source, layers=1, seed=5)
    os.utime(source, (1, 1))
    (again,) = make(source, ["Q8_0"], tmp_path, force=False)
    assert again.kept is False


def test_other_wishes_make_another_file(source: Path, tmp_path: Path) -> None:
    make(source, ["Q8_0"], tmp_path)
    options = QuantizationOptions(overrides=(Override("general.name", "str", "new"),))
    (again,) = make(source, ["Q8_0"], tmp_path, force=False, options=options)
    assert again.kept is False


def test_a_shortened_file_is_made_again(source: Path, tmp_path: Path) -> None:
    (made,) = make(source, ["Q8_0"], tmp_path)
    os.truncate(made.path, made.size_bytes - 1)
    assert make(source, ["Q8_0"], tmp_path, force=False)[0].kept is False


@pytest.mark.parametrize("link", ["", "symbolic", "hard"])
def test_the_source_is_never_overwritten(link: str, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "link.gguf" if link else source
    if link == "symbolic":
        target.symlink_to(source)
    elif link == "hard":
        target.hardlink_to(source)
    before = source.read_bytes()
    plan = plan_quantization(open_source(Recipe(source)), [(LEVELS["Q8_0"], target)])
    with pytest.raises(SameFileError):
        quantize(plan, force=True)
    assert source.read_bytes() == before


def test_two_runs_for_one_file(source: Path, tmp_path: Path) -> None:
    """The part of a living process means that it is still writing."""
    part = tmp_path / f".Q8_0.gguf.part-{os.getppid()}"
    part.touch()
    with pytest.raises(StorageError, match=f"is being written by another localllm, process {os.getppid()}"):
        make(source, ["Q8_0"], tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([source, part])


def test_a_checkpoint_to_chat_with_is_quantized_again_when_it_changed(tmp_path: Path) -> None:
    """Also when the change is a copy that keeps its old modification time, and whatever file it is."""
    demo = shipped_checkpoint("demo")
    assert demo is not None
    checkpoint = Path(shutil.copytree(demo, tmp_path / "mine"))
    resolved = Resolved("mine", checkpoint, "Q8_0")

    def made() -> int:
        return runnable_file(resolved).stat().st_mtime_ns

    first = made()
    assert made() == first
    shutil.copy2(demo / "tokenizer.json", checkpoint)
    second = made()
    assert second > first
    (checkpoint / "README.md").write_text("license: mit")
    assert made() > second
