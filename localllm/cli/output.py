"""The one place that writes to the terminal: results to stdout, everything else to stderr.

With `--json` a command prints exactly one object, `{"schema": 1, "command": ..., "data": ...}`, or
`"error"` in place of `"data"`. All text is stripped of terminal control sequences, and nothing is
ever interpreted as markup.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localllm.control_filter import clean
from localllm.errors import LocalLLMError
from localllm.events import Event, Notice

if TYPE_CHECKING:
    from localllm.cli.progress import ProgressView
    from localllm.engine import Chunk

SCHEMA = 1


class Output:
    """What one command writes to. The one made last is `current`, for errors that end the command."""

    current: Output | None = None

    def __init__(
        self,
        command: str,
        *,
        as_json: bool = False,
        quiet: bool = False,
        progress: type[ProgressView] | None = None,
    ) -> None:
        """Write for `command`; its progress is shown by `progress`, by default as bars."""
        from localllm.cli.progress import ProgressView

        self.command = command
        self.as_json = as_json
        self.quiet = quiet
        show = progress or ProgressView
        self._progress = show(visible=not (as_json or quiet) and sys.stderr.isatty())
        Output.current = self

    def emit(self, event: Event) -> None:
        """Show an event of a running operation."""
        if isinstance(event, Notice):
            self.notice(event.message, event.hint, "fixed" if event.fixed else "note")
        else:
            self._progress.show(event)

    def notice(self, message: str, hint: str | None = None, label: str = "note") -> None:
        """Tell something on stderr that is not an error; silent with `--quiet`."""
        if not self.quiet:
            self._progress.pause()
            _to_stderr(f"{label}: ", message, "yellow")
            if hint:
                _to_stderr("hint: ", hint, "cyan")

    def status(self, message: str) -> None:
        """Say on stderr what was done; silent with `--quiet` and `--json`."""
        if not (self.quiet or self.as_json):
            self._progress.pause()
            _to_stderr("", message, "")

    def data(self, data: Any) -> None:
        """Print the command's result as JSON, when that was asked for."""
        if self.as_json:
            self._progress.pause()
            print(json.dumps({"schema": SCHEMA, "command": self.command, "data": _plain(data)}, indent=2))

    def text(self, text: str) -> None:
        """Print a line of the result for people; silent with `--json`."""
        if not self.as_json:
            self._progress.pause()
            print(clean(text))

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str]) -> None:
        """Print a table for people, `numeric` columns aligned right; plain columns when piped."""
        if self.as_json:
            return
        from localllm.cli.tables import print_table

        self._progress.pause()
        lines = [[clean(cell) for cell in row] for row in (headings, *rows)]
        print_table(lines[0], lines[1:], [clean(heading) for heading in numeric])

    def answer(self, chunks: Iterator[Chunk]) -> dict[str, Any]:
        """Show an answer as it is generated (not with `--json`) and return it as data."""
        from localllm.cli.chat.answer_view import PlainView, Think, Unseen
        from localllm.cli.chat.answering import show_answer

        self._progress.pause()
        return show_answer(chunks, lambda _: Unseen() if self.as_json else PlainView(Think.DIM)).to_json()

    def close(self) -> None:
        """Take the progress display off the screen."""
        self._progress.pause()


def report_error(error: LocalLLMError, command: str = "") -> None:
    """Show an error the way the running command shows things."""
    output = Output.current
    if output:
        output.close()
    if output and output.as_json:
        detail = {"code": error.code, "message": clean(error.message), "hint": error.hint}
        print(json.dumps({"schema": SCHEMA, "command": output.command or command, "error": detail}, indent=2))
        return
    _to_stderr("error: ", error.message, "bold red")
    if error.hint:
        _to_stderr("hint: ", error.hint, "cyan")


def _to_stderr(label: str, message: str, style: str) -> None:
    """Print one line on stderr, its label coloured on a terminal."""
    text = clean(message).replace("\n", " ")
    if not sys.stderr.isatty():
        print(f"{label}{text}", file=sys.stderr)
        return
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True, highlight=False).print(Text.assemble((label, style), text))


def _plain(data: Any) -> Any:
    """Turn results into JSON-compatible data."""
    if is_dataclass(data) and not isinstance(data, type):
        return _plain(asdict(data))
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(item) for item in data]
    return str(data) if isinstance(data, Path) else data
