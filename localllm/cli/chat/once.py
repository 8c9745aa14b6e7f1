"""Answers without a terminal: a PROMPT, what a pipe brings, or both; the answer alone goes to stdout."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass

from localllm.cli.chat.screen import Screen
from localllm.cli.chat.talk import Talk
from localllm.cli.chat.talk_commands import ask
from localllm.cli.chat.typed import command_in, is_quit
from localllm.errors import UsageError

CUT = 3  # the exit status of an answer that reached its limit, for those who asked
_PATIENCE_SECONDS = 3.0


def read_piped(screen: Screen) -> str | None:
    """Return what comes on stdin, what is not UTF-8 replaced; None at a terminal."""
    if sys.stdin.isatty():
        return None
    reminder = threading.Timer(
        _PATIENCE_SECONDS,
        lambda: screen.status("reading standard input until it ends; `< /dev/null` gives it none"),
    )
    reminder.daemon = True
    reminder.start()
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig", "replace")
    finally:
        reminder.cancel()


@dataclass(frozen=True)
class Script:
    """What is to be said: one message, or, typed ahead, a conversation with a message or command a line."""

    lines: list[str]
    is_conversation: bool = False


def script_of(prompt: str | None, piped: str | None) -> Script:
    """Return what a PROMPT and piped text ask for: piped text alone is a conversation if it ends with `quit`.

    Raise UsageError when there is nothing to answer.
    """
    lines = [line for line in (piped or "").splitlines() if line.strip()]
    if prompt is None and lines and is_quit(lines[-1]):
        return Script(lines[:-1], is_conversation=True)
    message = together(prompt, piped)
    if not message.strip():
        raise UsageError("there is nothing to answer", hint="give a PROMPT or pipe one in")
    return Script([message])


def converse(talk: Talk, script: Script, *, fail_when_cut: bool = False) -> int:
    """Answer what `script` says and return the exit status.

    Raise KeyboardInterrupt when an answer was interrupted.
    """
    for line in script.lines:
        before = len(talk.outcomes)
        if not (script.is_conversation and _obeyed(talk, line)):
            ask(talk, line)
        if any(outcome.was_interrupted for outcome in talk.outcomes[before:]):
            raise KeyboardInterrupt
    answers = [outcome.to_json() for outcome in talk.outcomes]
    data = {"answers": answers} if script.is_conversation else answers[0]
    talk.screen.out.data({**data, "model": talk.chat.model, "session": talk.chat.name})
    was_cut = any(outcome.was_cut for outcome in talk.outcomes)
    return CUT if fail_when_cut and was_cut else 0


def _obeyed(talk: Talk, line: str) -> bool:
    """Run a line that is a command; return False for any other."""
    from localllm.cli.chat.command_table import COMMANDS  # one question needs none of them

    command = command_in(line)
    if command is None or command[0] not in COMMANDS:
        return False
    COMMANDS[command[0]].run(talk, command[1])
    return True


def together(prompt: str | None, piped: str | None) -> str:
    """Return the message: the prompt first, then what was piped, a blank line between them."""
    texts = [text.strip("\n") for text in (prompt, piped) if text is not None]
    return "\n\n".join(text for text in texts if text.strip())
