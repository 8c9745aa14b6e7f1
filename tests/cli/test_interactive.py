"""The chat at a real (pseudo) terminal, with the demo model: memory, Ctrl-C, commands, the ways out."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.cli.terminal import (
    ALT_ENTER,
    CTRL_C,
    CTRL_D,
    CTRL_R,
    FIGURES,
    PASTE_BEGINS,
    PASTE_ENDS,
    started,
)

GREEDY = ("--temperature", "0")
ENDLESS = (  # without the tokens that end an answer
    *("--temperature", "2", "--top-p", "1", "--top-k", "0", "--min-p", "0", "--seed", "3"),
    *("--logit-bias", "0=-100", "--logit-bias", "2=-100"),
)


def saved_messages() -> list[dict[str, str]]:
    """Return the messages of the only session."""
    (path,) = (Path(os.environ["LOCALLLM_HOME"]) / "sessions").glob("*.json")
    return list(json.loads(path.read_text())["messages"])


@pytest.mark.parametrize("word", ["quit", "/quit", "exit"])
def test_it_remembers_and_quits(word: str, demo_files: dict[str, Path], tmp_path: Path) -> None:
    chat = started(tmp_path, demo_files["Q8_0"], *GREEDY)
    chat.say("My name is Ada.")
    assert "Ada" in chat.say("What is my name?")
    chat.send(f"{word}\r")
    chat.finish()


def test_a_killed_chat_goes_on(demo_files: dict[str, Path], tmp_path: Path) -> None:
    chat = started(tmp_path, demo_files["Q8_0"], *GREEDY)
    chat.say("My name is Ada.")
    chat.kill()
    chat = started(tmp_path, "-c")  # the session knows its model and its options
    assert "resuming a conversation of 2 messages" in chat.shown
    assert "Ada" in chat.say("What is my name?")
    assert "0" in chat.run("/set temperature", "given")
    chat.send(CTRL_D)
    chat.finish()


def test_control_c_stops_the_answer_and_keeps_it(demo_files: dict[str, Path], tmp_path: Path) -> None:
    chat = started(tmp_path, demo_files["Q2_K"], *ENDLESS)
    chat.send("Tell me everything about GGUF and quantization, please.\r")
    chat.expect(r"please\.[^\n]*\n[^\n]*\w+ \w+")  # its echo, then the answer
    time.sleep(0.3)
    pressed = time.monotonic()
    chat.send(CTRL_C)
    chat.expect(FIGURES + ".*stopped")
    assert time.monotonic() - pressed < 3  # half a second, and a busy machine
    chat.await_prompt()
    assert [message["role"] for message in saved_messages()] == ["user", "assistant"]
    chat.run("/set temperature 0", "given")
    assert "GGUF" in chat.say("What is GGUF?")
    chat.send(CTRL_C)
    chat.expect("Ctrl-C again")
    chat.await_prompt()
    chat.send(CTRL_C)
    chat.finish()
    assert "^C" not in chat.shown


def test_control_c_at_the_prompt_only_clears_the_line(demo_files: dict[str, Path], tmp_path: Path) -> None:
    chat = started(tmp_path, demo_files["Q8_0"])
    for _ in range(3):
        chat.send("half a mess")
        chat.expect("half a mess")
        chat.send(CTRL_C)
        chat.await_prompt()
    chat.send(CTRL_C)
    chat.expect("Ctrl-C again")
    chat.send("x\b")  # something in between
    chat.send(CTRL_D)
    chat.finish()


def test_several_lines_are_one_message(demo_files: dict[str, Path], tmp_path: Path) -> None:
    chat = started(tmp_path, demo_files["Q8_0"], *GREEDY, "--max-tokens", "2")
    chat.say(f"one{ALT_ENTER}two")
    chat.say(f"{PASTE_BEGINS}three\r\n  four\rfive{PASTE_ENDS}")
    chat.say('"""six\rseven\r\reight\r"""')
    chat.send("quit\r")
    chat.finish()
    said = [message["content"] for message in saved_messages() if message["role"] == "user"]
    assert said == ["one\ntwo", "three\n  four\nfive", "six\nseven\n\neight"]


def test_regenerate_undo_and_edit(demo_files: dict[str, Path], tmp_path: Path) -> None:
    chat = started(tmp_path, demo_files["Q8_0"], *GREEDY)
    chat.say("My name is Ada.")
    chat.say("What is GGUF?")
    assert "GGUF" in chat.say("/regen")
    assert len(saved_messages()) == 4
    chat.run("/undo", "took back: What is GGUF")
    assert len(saved_messages()) == 2
    chat.send("/edit\r")
    chat.expect("edit")
    chat.expect("My name is Ada.")
    chat.send("\b\b\b\bZora.\r")
    chat.expect(FIGURES)
    chat.await_prompt()
    assert saved_messages()[0]["content"] == "My name is Zora."
    assert "Zora" in chat.say("What is my name?")
    chat.send("quit\r")
    chat.finish()


def test_the_quantization_changes_in_mid_conversation(demo_files: dict[str, Path], tmp_path: Path) -> None:
    chat = started(tmp_path, demo_files["Q8_0"], *GREEDY)
    chat.say("My name is Ada.")
    chat.run("/model :q2_k", r"Q2_K\.gguf goes on")
    chat.say("What is my name?")
    chat.run("/model :Q3_K_M", "there is no Q3_K_M")  # the running one stays
    chat.run("/model nothing-of-that-name", "error: ")
    chat.say("Hello")
    chat.send("quit\r")
    chat.finish()
    models = [message.get("model", "") for message in saved_messages() if message["role"] == "assistant"]
    assert [Path(model).stem for model in models] == ["demo-Q8_0", "demo-Q2_K", "demo-Q2_K"]


def test_the_history_is_private_and_searched(demo_files: dict[str, Path], tmp_path: Path) -> None:
    chat = started(tmp_path, demo_files["Q8_0"], *GREEDY, "--max-tokens", "2")
    chat.say("an unusual question")
    chat.say("another one")
    chat.send("quit\r")
    chat.finish()
    path = Path(os.environ["LOCALLLM_HOME"]) / "history"
    assert path.stat().st_mode & 0o777 == 0o600
    chat = started(tmp_path, demo_files["Q8_0"], *GREEDY, "--max-tokens", "2", "--no-save")
    chat.send(f"{CTRL_R}unus")
    chat.expect("ual question")
    chat.send("\r")
    chat.say(" indeed")
    chat.send(CTRL_D)
    chat.finish()
    assert "indeed" not in path.read_text()


def test_a_model_that_is_made_to_steer_the_terminal(demo_files: dict[str, Path], tmp_path: Path) -> None:
    grammar = tmp_path / "hostile.gbnf"
    forced = r"a\x1B]0;owned\x07b \x1B]52;c;aGk=\x1B\\c \x1B[2Jd \x1B[?1049he"
    grammar.write_text(f'root ::= "{forced}"')
    chat = started(tmp_path, demo_files["Q8_0"], "--grammar", grammar)
    answer = chat.say("Hello")
    assert "ab c d e\r\n" in answer
    assert not any(text in answer for text in ("\x1b]", "\x1b[2J", "\x1b[?1049h", "\x07"))
    chat.send("quit\r")
    chat.finish()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("is_answering", [False, True])
def test_signals_leave_the_terminal_as_it_was(
    number: signal.Signals, is_answering: bool, demo_files: dict[str, Path], tmp_path: Path
) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored here, as under nohup, and so it is by what is started")
    chat = started(tmp_path, demo_files["Q2_K"], *ENDLESS)
    if is_answering:
        chat.send("Tell me everything.\r")
        chat.expect(r"\w+ \w+")
        time.sleep(0.3)
    (process,) = children_of(chat.child.pid)
    os.kill(process, number)
    chat.finish(130)
    if is_answering:
        assert saved_messages()[1]["content"]


def children_of(process: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(process).children()]
