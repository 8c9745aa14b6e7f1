"""Reads messages at a terminal: edited with prompt_toolkit, or plainly where the cursor cannot move."""

from __future__ import annotations

import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from localllm.cli.chat.looks import looks_of
from localllm.cli.chat.typed import is_open

if TYPE_CHECKING:
    from localllm.cli.chat.talk import Talk

_CONTINUATION = "… "


class Key(Enum):
    """What can be pressed in place of typing a message."""

    INTERRUPT = auto()  # Ctrl-C with nothing typed
    CLEAR = auto()  # Ctrl-C with something typed, which is gone
    END = auto()  # Ctrl-D, or the end of the input


class InputLine(ABC):
    """Where people type."""

    @abstractmethod
    def read(self, mark: str, draft: str = "") -> str | Key:
        """Return the next message, of one or more lines; `draft` is there to be changed."""


def open_input(talk: Talk) -> InputLine:
    """Return the best input line that this terminal allows; what is not saved leaves no history, either."""
    for stream in (sys.stdout, sys.stderr):
        if looks_of(stream).moves:
            from localllm.cli.chat.completer import ChatCompleter
            from localllm.cli.chat.edited_line import EditedLine

            return EditedLine(stream, ChatCompleter(talk), keeps_history=talk.chat.is_saved)
    return PlainLine()


def prepare_input() -> None:
    """Import what the conversation will need, which takes a moment."""
    import localllm.cli.chat.interactive

    if any(looks_of(stream).moves for stream in (sys.stdout, sys.stderr)):
        import localllm.cli.chat.completer
        import localllm.cli.chat.edited_line  # noqa: F401


class PlainLine(InputLine):
    """Lines as the terminal itself edits them, with readline where there is one; a draft is one line."""

    def __init__(self) -> None:
        with suppress(ImportError):  # not on Windows, whose console edits lines itself
            import readline

            readline.set_auto_history(True)
            readline.set_startup_hook(self._put_draft)
        self._draft = ""

    def read(self, mark: str, draft: str = "") -> str | Key:
        lines: list[str] = []
        self._draft = draft if "\n" not in draft else ""
        try:
            with _plain_control_c():
                lines.append(self._ask(mark))
                while is_open("\n".join(lines)):
                    lines.append(self._ask(_CONTINUATION))
        except EOFError:
            self._end_line()
            return "\n".join(lines) if lines else Key.END
        except KeyboardInterrupt:
            self._end_line()
            return Key.CLEAR if lines or _is_something_typed() else Key.INTERRUPT
        return "\n".join(lines)

    def _ask(self, mark: str) -> str:
        if sys.stdout.isatty():
            return input(mark)
        sys.stderr.write(mark)  # stdout is somebody else's
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\r\n")

    def _put_draft(self) -> None:
        import readline

        readline.insert_text(self._draft)
        self._draft = ""

    def _end_line(self) -> None:
        (sys.stdout if sys.stdout.isatty() else sys.stderr).write("\n")


def _is_something_typed() -> bool:
    with suppress(ImportError):
        import readline

        return bool(readline.get_line_buffer())
    return False


@contextmanager
def _plain_control_c() -> Iterator[None]:
    """Make every Ctrl-C count; elsewhere a second one soon after the first is passed over."""
    before: Any = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
