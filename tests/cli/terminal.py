"""The command line at a (pseudo) terminal: what is typed, what is shown, and how the terminal is left."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.process import COMMAND, environment

pexpect = pytest.importorskip("pexpect", reason="needs a pseudo terminal")

SCRIPTED = [sys.executable, "-m", "tests.cli.scripted"]
PROMPT = r"\x1b\[\?2004h"  # the input line begins: pastes are told from keys
FIGURES = r"\[\d+ tokens, .*context \d+/\d+\]"
CTRL_C, CTRL_D, CTRL_R, ALT_ENTER = "\x03", "\x04", "\x12", "\x1b\r"
PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"


class Terminal:
    """`localllm chat ARGUMENTS` between two `stty -a`, in a shell of its own."""

    def __init__(
        self,
        directory: Path,
        *arguments: str | Path,
        command: list[str] = COMMAND,
        env: Mapping[str, str] | None = None,
        columns: int = 80,
    ) -> None:
        self._before, self._after = directory / "before.stty", directory / "after.stty"
        line = shlex.join([*command, "chat", *map(str, arguments)])
        stty = f"stty -a > {self._before}", f"stty -a > {self._after}"
        script = f"trap : INT; {stty[0]}; {line}; status=$?; {stty[1]}; exit $status"
        self.child = pexpect.spawn(
            "/bin/sh",
            ["-c", script],
            env=environment({"TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": "", **(env or {})}),
            dimensions=(24, columns),
            encoding="utf-8",
            timeout=60,
        )
        self.shown = ""  # everything that came to the terminal

    def expect(self, pattern: str) -> str:
        """Wait for `pattern` and return what came before it."""
        self.child.expect(pattern)
        self.shown += self.child.before + self.child.after
        return str(self.child.before)

    def await_prompt(self) -> None:
        """Wait until a message can be typed."""
        self.expect(PROMPT)

    def send(self, text: str) -> None:
        """Press keys."""
        self.child.send(text)

    def say(self, text: str) -> str:
        """Type a message and return everything shown up to the figures; then wait for the next prompt."""
        self.send(f"{text}\r")
        answer = self.expect(FIGURES)
        self.await_prompt()
        return answer

    def run(self, command: str, expected: str) -> str:
        """Type a command, wait for what it says, then for the next prompt."""
        self.send(f"{command}\r")
        said = self.expect(expected)
        self.await_prompt()
        return said

    def finish(self, status: int = 0) -> None:
        """Wait for the end and check the exit status, and that the terminal is as it was."""
        self.child.expect(pexpect.EOF)
        self.shown += self.child.before
        self.child.close()
        assert self.child.exitstatus == status, (self.child.exitstatus, self.child.signalstatus, self.shown)
        assert self._after.read_text() == self._before.read_text()

    def kill(self) -> None:
        """Kill everything at once, as `kill -9` or a power cut does."""
        import os
        import signal

        os.killpg(os.getpgid(self.child.pid), signal.SIGKILL)
        self.child.wait()


def started(*arguments: Any, **options: Any) -> Terminal:
    """Start a chat and wait for its first prompt."""
    terminal = Terminal(*arguments, **options)
    terminal.expect("ends the chat")
    terminal.await_prompt()
    return terminal
