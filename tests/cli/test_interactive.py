"""The chat in a real (pseudo) terminal: messages, Ctrl-C, resume, the ways out, a restored terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.process import COMMAND, environment

pexpect = pytest.importorskip("pexpect", reason="needs a pseudo terminal")


def start(*arguments: str | Path) -> Any:
    child = pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], "chat", *map(str, arguments)],
        env=environment({"TERM": "xterm", "COLUMNS": "80"}),
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=60,
    )
    child.expect("ends the chat")
    return child


def say(child: Any, text: str) -> str:
    """Send a message and return everything shown up to the statistics line."""
    child.expect("\n> ")
    child.sendline(text)
    child.expect(r"\[\d+ tokens, .*context \d+/\d+\]")
    return str(child.before)


def finish(child: Any) -> None:
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, (child.exitstatus, child.signalstatus)


@pytest.mark.parametrize("word", ["quit", "/quit"])
def test_it_remembers_and_quits(word: str, demo_files: dict[str, Path]) -> None:
    child = start(demo_files["Q8_0"], "--temperature", "0")
    say(child, "My name is Ada.")
    assert "Ada" in say(child, "What is my name?")
    child.sendline(word)
    finish(child)


def test_end_of_input_leaves(demo_files: dict[str, Path]) -> None:
    child = start(demo_files["Q8_0"])
    child.expect("\n> ")
    child.sendeof()
    finish(child)


def test_a_session_goes_on_in_the_next_run(demo_files: dict[str, Path]) -> None:
    arguments = (demo_files["Q8_0"], "--temperature", "0", "--session", "work")
    child = start(*arguments)
    say(child, "My name is Ada.")
    child.kill(9)  # the window is closed: nothing may be lost
    child.wait()
    child = start(*arguments)
    child.expect("resuming a conversation of 2 messages")
    assert "Ada" in say(child, "What is my name?")
    child.sendline("quit")
    finish(child)


def test_control_c_stops_the_answer_not_the_chat(demo_files: dict[str, Path]) -> None:
    child = start(demo_files["Q2_K"], "--temperature", "2", "--top-p", "1", "--seed", "3")
    child.expect("\n> ")
    child.sendline("Tell me everything about GGUF and quantization, please.")
    child.expect(r"\w")
    child.sendintr()
    child.expect(r"context \d+/\d+\]")
    child.expect("\n> ")
    child.sendline("quit")
    finish(child)


def test_control_c_at_the_prompt_only_clears_the_line(demo_files: dict[str, Path]) -> None:
    child = start(demo_files["Q8_0"])
    child.expect("\n> ")
    child.send("half a mess")
    child.expect("half a mess")
    time.sleep(0.5)  # CPython's readline only sees a signal while it waits for a key
    child.sendintr()
    child.expect("\n> ")
    child.sendline("quit")
    finish(child)


@pytest.mark.skipif(sys.platform == "win32", reason="terminal attributes are POSIX")
def test_the_terminal_is_left_as_it_was(demo_files: dict[str, Path]) -> None:
    import termios

    child = start(demo_files["Q8_0"])
    child.expect("\n> ")
    child.sendline("quit")
    child.expect(pexpect.EOF)
    local_modes = termios.tcgetattr(child.child_fd)[3]
    assert local_modes & termios.ECHO
    assert local_modes & termios.ICANON
    child.close()
