"""`localllm compare` with a comparison made by hand: what is shown, written and refused."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import environment, localllm
from tests.report import examples

COMPARED = [sys.executable, "-m", "tests.cli.compared"]


def compared(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `localllm ARGUMENTS` with the comparison that COMPARED in `env` names."""
    return subprocess.run(
        [*COMPARED, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment(env),
        timeout=120,
        check=False,
    )


def test_piped_it_is_one_plain_table_and_what_follows_from_it() -> None:
    result = compared("compare", "demo")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["level", "size"]
    assert [line.split()[0] for line in lines[1:14]] == [row.level for row in examples.TWELVE.measurements]
    assert "    A GGUF file holds the weights▸ of a model, and little else." in lines
    assert "Q2_K is the smallest that keeps within the loss asked for" in lines
    assert "The quality of Q5_K_S and Q5_K_M could not be told apart on this text" in lines
    assert "note: the text is unlike a chat: no template is used (`--chat-format` wraps it)" in lines
    assert lines[-2] == "speed: 512 tokens read and 128 generated, 5 repetitions, 2 threads"
    assert result.stderr == ""  # no live table without a terminal


def test_json_csv_and_markdown() -> None:
    data = json.loads(compared("compare", "demo", "--json").stdout)
    assert (data["schema"], data["command"]) == (1, "compare")
    assert len(data["data"]["measurements"]) == 13
    rows = list(csv.DictReader(io.StringIO(compared("compare", "demo", "--csv").stdout)))
    assert float(rows[0]["kl_divergence"]) == 0.02113
    assert compared("compare", "demo", "--markdown").stdout.startswith("| level | size |")


def test_what_failed_is_shown_with_its_reason() -> None:
    for option in ((), ("--markdown",), ("--csv",), ("--json",)):
        result = compared("compare", "demo", *option, env={"COMPARED": "FAILED"})
        assert result.returncode == 1
        assert "llama.cpp was killed by signal 9" in result.stdout
    assert (
        "Q5_K_M failed: llama.cpp was killed by signal 9"
        in compared("compare", "demo", env={"COMPARED": "FAILED"}).stdout
    )


def test_hostile_names_reach_no_terminal() -> None:
    for option in ((), ("--markdown",), ("--csv",), ("--json",)):
        result = compared("compare", "demo", *option, env={"COMPARED": "HOSTILE_RESULT"})
        assert "\x1b" not in result.stdout + result.stderr
        assert "alert(1)" in result.stdout


def test_page_and_plots_are_written_whole(tmp_path: Path) -> None:
    page, plots = tmp_path / "report.html", tmp_path / "plots.png"
    page.write_text("old")
    result = compared("compare", "demo", "--html", page, "--png", plots)
    assert result.returncode == 0, result.stderr
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert plots.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plots.png", "report.html"]
    assert f"wrote {page}" in result.stderr


def test_options_reach_the_verb(tmp_path: Path) -> None:
    asked = tmp_path / "asked.json"
    text = tmp_path / "a.txt"
    result = compared(
        *("compare", "a.gguf", "b.gguf", "-q", "Q4_K_M,Q8_0", "-q", "Q2_K", "--against", "c.gguf"),
        *("--text", text, "--chat-format", "--chunks", "3", "--max-minutes", "1.5", "--context", "256"),
        *("--repetitions", "2", "--prompt-tokens", "64", "--generated-tokens", "32", "--depth", "16"),
        *("--prompt", "Hi", "--task", "t.jsonl", "--no-speed", "--no-keep", "--max-loss", "0.01"),
        *("--threads", "1", "--force", "--quiet"),
        env={"ASKED": str(asked)},
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(asked.read_text()) == {
        "models": ["a.gguf", "b.gguf"],
        "levels": ["Q4_K_M,Q8_0", "Q2_K"],
        "against": "c.gguf",
        "texts": [str(text)],
        "chat_format": True,
        "max_chunks": 3,
        "max_minutes": 1.5,
        "context_size": 256,
        "repetitions": 2,
        "prompt_tokens": 64,
        "generated_tokens": 32,
        "depth": 16,
        "prompts": ["Hi"],
        "tasks": ["t.jsonl"],
        "speed": False,
        "quality": True,
        "keep": False,
        "max_loss": 0.01,
        "threads": 1,
        "force": True,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no model to compare"),
        (("demo", "--csv", "--json"), "`--csv` and `--json` exclude each other"),
        (
            ("demo", "--csv", "--markdown", "--json"),
            "`--csv` and `--markdown` and `--json` exclude each other",
        ),
        (("demo", "--max-loss", "0"), "`--max-loss 0` is no share"),
        (("demo", "--max-loss", "-1"), "`--max-loss -1` is no share"),
        (("demo", "--max-loss", "nan"), "`--max-loss nan` is no share"),
        (("demo", "--max-loss", "1"), "`--max-loss 1` is no share"),
        (("demo", "--html", "nowhere/x.html"), "there is no folder"),
        (("demo", "--png", "nowhere/x.png"), "there is no folder"),
        (("demo", "--html", "."), ". is a directory"),
        (("demo", "--html", "same", "--png", "same"), "`--html` and `--png` name one file"),
        (("file.gguf", "--html", "file.gguf"), "file.gguf is a model to compare"),
        (("demo", "--no-quality", "--png", "x.png"), "`--png` needs the quality"),
        (("demo", "--no-quality", "--text", "x.txt"), "`--text` needs the quality"),
        (("demo", "--history", "--csv"), "`--csv` has no meaning with `--history`"),
        (("demo", "other", "--history"), "`--history` is of one model"),
        (("demo", "--context", "8"), "--context"),
        (("demo", "--chunks", "0"), "--chunks"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_measured(
    arguments: tuple[str, ...], message: str, working_directory: Path
) -> None:
    (working_directory / "file.gguf").write_bytes(b"GGUF")
    result = localllm("compare", *arguments, cwd=working_directory)
    assert result.returncode == 2, result.stderr
    errors = result.stdout + result.stderr
    assert message in errors
    if "--json" not in arguments:
        assert errors.count("\n") == 2  # the error and its hint
    assert [path.name for path in working_directory.iterdir()] == ["file.gguf"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that cannot be written to")
def test_a_folder_that_cannot_be_written_to(working_directory: Path) -> None:
    folder = working_directory / "locked"
    folder.mkdir(mode=0o500)
    result = localllm("compare", "demo", "--html", folder / "x.html", cwd=working_directory)
    assert (result.returncode, "cannot write into" in result.stderr) == (1, True)


def test_history() -> None:
    result = compared("compare", "--history")
    _, first, second = result.stdout.splitlines()
    assert first.split()[:4] == ["2026-11-25", "23:00", "20261125-230000-abcd", "demo"]
    assert "3, 1 failed" in second
    data = json.loads(compared("compare", "demo", "--history", "--json").stdout)["data"]
    assert [len(run["measurements"]) for run in data["runs"]] == [13, 3]
    nothing = compared("compare", "unknown", "--history")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "no comparison of `unknown` is kept; `localllm compare unknown` makes one" in nothing.stderr
