"""`localllm imatrix` as users run it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from localllm.imatrix import read_imatrix
from tests.cli.process import localllm


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "letters.txt"
    path.write_text("abc defg hij " * 200)
    return path


def test_a_matrix_goes_where_it_is_told(narrow_gguf: Path, text: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.gguf"
    result = localllm("imatrix", narrow_gguf, "-f", text, "-o", target, "--context", "32", "--chunks", "4")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{target}\n"
    assert "measured 7 tensors on 128 tokens (letters.txt)" in result.stderr
    assert read_imatrix(target).chunks == 4


def test_the_library_is_the_default_and_the_built_in_text(narrow_gguf: Path) -> None:
    result = localllm("imatrix", narrow_gguf, "--chunks", "2", "--json")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)["data"]
    expected = Path(os.environ["LOCALLLM_HOME"]) / "models" / "narrow" / "narrow-imatrix.gguf"
    assert data["path"] == str(expected)
    assert data["datasets"] == ["built-in"]
    assert (data["chunks"], data["chunk_size"], data["tokens"], data["partial"]) == (2, 512, 1024, [])
    assert read_imatrix(expected).chunks == 2


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["-f", "none.txt"], 1, "no such file: none.txt"),
        (["-f", "short.txt", "--context", "64"], 2, "at least 2 chunks"),
        (["--context", "8"], 2, "--context"),
        (["--chunks", "0"], 2, "--chunks"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], status: int, said: str, narrow_gguf: Path, tmp_path: Path
) -> None:
    (tmp_path / "short.txt").write_text("abc")
    result = localllm("imatrix", narrow_gguf, *arguments, "-o", "m.gguf", cwd=tmp_path)
    assert result.returncode == status
    assert said in result.stderr.splitlines()[0]
    assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "m.gguf").exists()
