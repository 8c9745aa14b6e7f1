"""`chat` without a terminal: prompts, pipes, scripted conversations, sessions, JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.cli.process import localllm


def test_a_prompt_is_answered_once(demo_files: dict[str, Path]) -> None:
    result = localllm("chat", demo_files["Q8_0"], "What is GGUF?", "--temperature", "0")
    assert result.returncode == 0, result.stderr
    assert "GGUF" in result.stdout
    assert result.stdout.endswith("\n")
    assert "<|im" not in result.stdout


def test_piped_text_is_one_prompt(demo_files: dict[str, Path]) -> None:
    piped = localllm("chat", demo_files["Q8_0"], "--temperature", "0", stdin="What is GGUF?\n")
    argument = localllm("chat", demo_files["Q8_0"], "What is GGUF?", "--temperature", "0")
    assert piped.stdout == argument.stdout


def test_the_demo_remembers_a_name_by_its_library_name() -> None:
    script = "My name is Ada.\nWhat is my name?\nquit\n"
    result = localllm("chat", "demo:Q8_0", "--temperature", "0", stdin=script)
    assert result.returncode == 0, result.stderr
    assert "Ada" in result.stdout.splitlines()[-1]
    assert (Path(os.environ["LOCALLLM_HOME"]) / "models" / "demo" / "demo-Q8_0.gguf").is_file()


def test_a_session_is_saved_and_resumed(demo_files: dict[str, Path]) -> None:
    common = ("chat", demo_files["Q8_0"], "--temperature", "0", "--session", "me")
    localllm(*common, "My name is Zora.")
    result = localllm(*common, "What is my name?")
    assert "Zora" in result.stdout
    path = Path(os.environ["LOCALLLM_HOME"]) / "sessions" / "me.json"
    saved = json.loads(path.read_text())
    assert [message["role"] for message in saved["messages"]] == ["user", "assistant"] * 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_json_answer_carries_usage_and_reason(demo_files: dict[str, Path]) -> None:
    result = localllm("chat", demo_files["Q8_0"], "What is GGUF?", "--max-tokens", "3", "--json")
    data = json.loads(result.stdout)["data"]
    assert data["finish_reason"] == "length"
    assert data["completion_tokens"] == 3
    assert data["prompt_tokens"] > 3
    assert data["text"]


def test_a_seed_repeats_an_answer(demo_files: dict[str, Path]) -> None:
    arguments = ("chat", demo_files["Q2_K"], "Hello", "--temperature", "1.5", "--seed", "7")
    assert localllm(*arguments).stdout == localllm(*arguments).stdout


def test_stop_texts_end_an_answer_before_them(demo_files: dict[str, Path]) -> None:
    whole = localllm("chat", demo_files["Q8_0"], "What is GGUF?", "--temperature", "0").stdout.strip()
    stop = whole[len(whole) // 2 :][:6]
    cut = localllm("chat", demo_files["Q8_0"], "What is GGUF?", "--temperature", "0", "--stop", stop)
    assert cut.stdout.rstrip("\n") == whole[: whole.index(stop)].rstrip("\n")
