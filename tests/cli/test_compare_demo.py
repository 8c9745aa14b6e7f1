"""`compare` and `demo` as processes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from tests.cli.process import localllm

_QUICK = ("--repetitions", "1", "--prompt-tokens", "64", "--generated-tokens", "16")


def test_compare_fills_every_column(demo_files: dict[str, Path]) -> None:
    result = localllm("compare", *demo_files.values(), *_QUICK, "--chunks", "2", "--json")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)["data"]
    assert [row["level"] for row in data["measurements"]] == ["Q2_K", "Q8_0", "BF16"]
    for row in data["measurements"]:
        assert row["error"] is None
        assert row["size_bytes"] == Path(row["path"]).stat().st_size
        assert row["load_seconds"] > 0
        assert row["peak_memory_bytes"] > row["size_bytes"]
        assert row["prompt_tokens_per_second"]["value"] > 0
        assert row["generation_tokens_per_second"]["value"] > 0
        assert row["perplexity"]["value"] > 1
        assert (row["kl_divergence"] is None) == row["is_reference"]
    smallest, larger, _ = data["measurements"]
    assert smallest["kl_divergence"]["value"] > larger["kl_divergence"]["value"] > 0
    assert data["settings"]["evaluated_tokens"] == 2 * 255
    assert data["reference"] == "BF16"


def test_compare_as_csv(demo_files: dict[str, Path]) -> None:
    result = localllm("compare", demo_files["Q2_K"], *_QUICK, "--chunks", "1", "--csv")
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert row["level"] == "Q2_K"
    assert float(row["perplexity"]) > 1


def test_what_was_compared_gets_a_card(demo_files: dict[str, Path], tmp_path: Path) -> None:
    files = (demo_files["BF16"], demo_files["Q8_0"])
    compared = localllm("compare", *files, *_QUICK, "--chunks", "2", "--html", tmp_path / "page.html")
    assert compared.returncode == 0, compared.stderr
    assert "Q8_0" in (tmp_path / "page.html").read_text(encoding="utf-8")
    history = json.loads(localllm("compare", "--history", "--json").stdout)["data"]["runs"]
    card = json.loads(localllm("card", demo_files["Q8_0"], "-o", tmp_path / "card.md", "--json").stdout)[
        "data"
    ]
    assert card["run"] == history[0]["id"]
    assert "| Q8_0 |" in (tmp_path / "card.md").read_text(encoding="utf-8")
    assert Path(card["image"]).read_bytes().startswith(b"\x89PNG")


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
