"""What a chat remembers, with the demo model and real processes: killed, resumed, longer than the context."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from localllm import sessions
from tests.cli.process import localllm

TOPICS = (
    "What is GGUF?",
    "What is LoRA?",
    "How do I quantize a model?",
    "What is a system prompt?",
    "What does temperature do?",
    "What is Q4_K_M?",
    "What is perplexity?",
)


def only_session() -> dict[str, Any]:
    (path,) = sessions.session_files()
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def states() -> list[str]:
    return sorted(path.suffix for path in (Path(os.environ["LOCALLLM_HOME"]) / "states").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_killed_after_the_answer_it_knows_the_name(demo_files: dict[str, Path], tmp_path: Path) -> None:
    from tests.cli.terminal import started

    terminal = started(tmp_path, demo_files["Q8_0"], "--temperature", "0")
    terminal.say("My name is Zora.")
    terminal.kill()
    assert [m["content"] for m in only_session()["messages"]] == [
        "My name is Zora.",
        "Nice to meet you, Zora!",
    ]
    result = localllm("chat", "-c", "What is my name?", "--temperature", "0", "--json")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)["data"]
    assert "Zora" in data["text"]
    assert data["time_to_first_token_seconds"] > 0
    assert len(only_session()["messages"]) == 4


def test_what_was_read_is_not_read_again(demo_files: dict[str, Path]) -> None:
    options = ("--temperature", "0", "--json")
    first = localllm("chat", demo_files["Q8_0"], "My name is Zora.", *options)
    read = json.loads(first.stdout)["data"]["prompt_tokens"]
    assert states() == [".json", ".state"]
    second = localllm("chat", "-c", "What is my name?", *options)
    data = json.loads(second.stdout)["data"]
    assert "Zora" in data["text"]
    assert data["cached_tokens"] > read, "question and answer"
    assert second.stderr == ""


def test_a_damaged_state_is_told_and_costs_only_time(demo_files: dict[str, Path]) -> None:
    options = ("--temperature", "0", "--json")
    localllm("chat", demo_files["Q8_0"], "My name is Zora.", *options)
    (state,) = (Path(os.environ["LOCALLLM_HOME"]) / "states").glob("*.state")
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 0xFF
    state.write_bytes(data)
    result = localllm("chat", "-c", "What is my name?", *options)
    assert "Zora" in json.loads(result.stdout)["data"]["text"]
    assert "the conversation is read again: its state is damaged" in result.stderr
    assert states() == [".json", ".state"], "a new one"


def test_another_level_reads_again_and_says_so(demo_files: dict[str, Path]) -> None:
    localllm("chat", demo_files["Q8_0"], "My name is Zora.", "--session", "me", "--temperature", "0")
    result = localllm("chat", demo_files["BF16"], "What is my name?", "--session", "me", "--temperature", "0")
    assert "Zora" in result.stdout
    assert "the conversation is read again: its state is of another model" in result.stderr


def test_nothing_is_kept_without_saving(demo_files: dict[str, Path]) -> None:
    assert localllm("chat", demo_files["Q8_0"], "Hello", "--no-save").returncode == 0
    assert sessions.session_files() == []
    assert not (Path(os.environ["LOCALLLM_HOME"]) / "states").exists()


@pytest.mark.parametrize("policy", ["compact", "drop"])
def test_three_times_the_context(policy: str, demo_files: dict[str, Path]) -> None:
    asked = ["My name is Ada.", *TOPICS, *TOPICS, *TOPICS]
    script = "\n".join([*asked, "quit"]) + "\n"
    options = ("--context", "256", "--temperature", "0", "--system", "Be polite.", "--overflow", policy)
    result = localllm("chat", demo_files["Q8_0"], *options, "--json", stdin=script)
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout)["data"]["answers"]
    assert all(each["prompt_tokens"] <= 192 and each["finish_reason"] == "stop" for each in answers)
    saved = only_session()
    assert saved["messages"][0] == {"role": "system", "content": "Be polite."}
    assert [m["content"] for m in saved["messages"] if m["role"] == "user"] == asked
    assert [m["content"] for m in saved["messages"] if m["role"] == "assistant"] == [
        each["text"] for each in answers
    ]
    compactions = saved.get("compactions", [])
    assert result.stderr.count("the model now sees a summary of") == len(compactions)
    if policy == "compact":
        assert len(compactions) >= 3
        assert all(each["summary"] in result.stderr for each in compactions)
    else:
        assert result.stderr.count("the model no longer sees the first") >= 3


def test_stop_says_how_to_go_on(demo_files: dict[str, Path]) -> None:
    script = "\n".join([*TOPICS, "quit"]) + "\n"
    result = localllm("chat", demo_files["Q8_0"], "--context", "256", "--overflow", "stop", stdin=script)
    assert result.returncode == 1
    assert "no longer fits into the context of 256 tokens" in result.stderr
    assert "--overflow compact" in result.stderr
    assert len(only_session()["messages"]) >= 4


def test_a_persona_is_remembered(demo_files: dict[str, Path]) -> None:
    assert localllm("chat", demo_files["Q8_0"], "Hello", "--persona", "terse").returncode == 0
    saved = only_session()
    assert saved["persona"] == "terse"
    assert saved["messages"][0]["content"].startswith("You are brief.")
    result = localllm("chat", demo_files["Q8_0"], "Hello", "--persona", "ters")
    assert result.returncode == 1
    assert "did you mean `terse`?" in result.stderr
