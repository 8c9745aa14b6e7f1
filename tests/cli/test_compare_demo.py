"""`compare` and `demo` as processes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from tests.cli.process import localllm


def test_compare_fills_every_column(demo_files: dict[str, Path]) -> None:
    result = localllm("compare", *demo_files.values(), "--repetitions", "1", "--chunks", "2", "--json")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)["data"]
    assert [row["level"] for row in data["measurements"]] == list(demo_files)
    for row in data["measurements"]:
        assert row["error"] is None
        assert row["size_bytes"] == Path(row["path"]).stat().st_size
        assert row["load_seconds"] > 0
        assert row["peak_memory_bytes"] > row["size_bytes"]
        assert row["prompt_tokens_per_second"]["value"] > 0
        assert row["generation_tokens_per_second"]["value"] > 0
        assert row["perplexity"]["value"] > 1
    assert data["evaluated_tokens"] == 2 * 255


def test_compare_as_csv(demo_files: dict[str, Path]) -> None:
    result = localllm("compare", demo_files["Q2_K"], "--repetitions", "1", "--chunks", "1", "--csv")
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert row["level"] == "Q2_K"
    assert float(row["perplexity"]) > 1


def test_demo_goes_the_whole_way(tmp_path: Path) -> None:
    result = localllm("demo", "--keep", tmp_path / "kept")
    assert result.returncode == 0, result.stderr
    for level in ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "BF16"):
        assert f"\n{level} " in result.stdout
        assert (tmp_path / "kept" / f"demo-{level}.gguf").is_file()
    assert result.stdout.count("\n> ") == 2
    assert "localllm chat demo" in result.stdout


def test_demo_removes_its_files_by_default(tmp_path: Path) -> None:
    result = localllm("demo", env={"TMPDIR": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []
