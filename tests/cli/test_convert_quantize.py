"""`convert` and `quantize` as processes: where files go, what is printed, which types come out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from localllm.gguf_file import read_header
from localllm.quantization.levels import GROUPS
from tests.cli.process import files_below, localllm


def library() -> Path:
    return Path(os.environ["LOCALLLM_HOME"]) / "models"


def test_convert_into_the_library(demo_checkpoint: Path) -> None:
    result = localllm("convert", demo_checkpoint)
    expected = library() / "demo" / "demo-BF16.gguf"
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{expected}\n"
    assert read_header(expected).architecture == "llama"


def test_convert_as_json_at_a_chosen_place(demo_checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "model.gguf"
    result = localllm("convert", demo_checkpoint, "-o", target, "--outtype", "q8_0", "--json")
    data = json.loads(result.stdout)["data"]
    assert data["level"] == "Q8_0"
    assert data["path"] == str(target)
    assert data["size_bytes"] == target.stat().st_size


def test_quantize_a_checkpoint_leaves_no_sixteen_bit_file(demo_checkpoint: Path) -> None:
    result = localllm("quantize", demo_checkpoint, "-q", "q4_k_m,Q8_0", "-q", "Q2_K")
    assert result.returncode == 0, result.stderr
    made = {path.name for path in files_below(library()) if path.suffix == ".gguf"}
    assert made == {"demo-Q4_K_M.gguf", "demo-Q8_0.gguf", "demo-Q2_K.gguf"}
    listed = json.loads(localllm("list", "--json").stdout)["data"]
    assert {entry["name"] for entry in listed} >= {"demo:Q4_K_M", "demo:Q8_0", "demo:Q2_K"}


def test_quantize_all_levels_of_a_narrow_model(material: Path, tmp_path: Path) -> None:
    """Rows of 64 fit no K-quant block: every level works, and what was really used is told."""
    source = material / "weights" / "stories260K-hf-derived"
    result = localllm("quantize", source, "-q", "all", "-o", f"{tmp_path}/", "--json")
    made = json.loads(result.stdout)["data"]
    assert [entry["level"] for entry in made] == list(GROUPS["ALL"])
    for entry in made:
        counts: dict[str, int] = {}
        for tensor in read_header(Path(entry["path"])).tensors:
            counts[tensor.type.name] = counts.get(tensor.type.name, 0) + 1
        assert entry["types"] == counts
        assert not any(name.endswith("_K") for name in counts), "a K-quant cannot hold rows of 64"
    shown = localllm("inspect", made[0]["path"])
    assert "Q4_0 " in shown.stdout
    assert "do not fit the level's block" in shown.stdout


def test_one_level_to_a_named_file(demo_files: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "mine.gguf"
    result = localllm("quantize", demo_files["BF16"], "-q", "Q5_0", "-o", target)
    assert result.returncode == 0, result.stderr
    assert {tensor.type.name for tensor in read_header(target).tensors} == {"F32", "Q5_0", "Q6_K"}


@pytest.mark.parametrize("arguments", [(), ("--quiet",)])
def test_stdout_is_only_the_result(
    arguments: tuple[str, ...], demo_files: dict[str, Path], tmp_path: Path
) -> None:
    result = localllm("quantize", demo_files["BF16"], "-q", "Q8_0", "-o", tmp_path / "x.gguf", *arguments)
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["level", "size"]
    assert lines[1].startswith("Q8_0")
    assert len(lines) == 2
    assert "\x1b" not in result.stdout + result.stderr


def test_a_directory_as_output_gets_a_file_of_the_models_name(demo_checkpoint: Path, tmp_path: Path) -> None:
    """Named with a separator at the end, or there already."""
    for command in (("convert", demo_checkpoint), ("quantize", demo_checkpoint, "-q", "Q8_0")):
        for output in ("new/", "new"):
            result = localllm(*command, "-o", output, "--json", cwd=tmp_path)
            assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"demo-BF16.gguf", "demo-Q8_0.gguf"}
