"""Where the chat speaks about itself: on stderr, so that stdout holds answers alone."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from localllm.cli.chat.looks import columns, looks_of
from localllm.cli.chat.waiting import Waiting
from localllm.cli.output import Output
from localllm.control_filter import clean
from localllm.errors import LocalLLMError
from localllm.events import Advanced, Event, Notice

_WIDEST = 100  # columns: longer lines of text are hard to read


class Screen:
    """Prints lines, dim or plain; whatever is printed ends a running `waiting`."""

    def __init__(self, out: Output) -> None:
        self.out = out
        self.looks = looks_of(sys.stderr)
        self._waiting: Waiting | None = None

    def emit(self, event: Event) -> None:
        """Show an event of the conversation or the engine; what was waited for is waited for further."""
        waited_for = self._waiting.what if self._waiting else None
        if isinstance(event, Notice):
            self.note(event.message, event.hint, "fixed" if event.fixed else "note")
        else:
            self.calm()
            self.out.emit(event)
        if waited_for and not isinstance(event, Advanced):
            self._waiting = Waiting(waited_for, self.looks)

    def status(self, text: str) -> None:
        """Say in passing what happened; silent with `--quiet` and `--json`."""
        if not (self.out.quiet or self.out.as_json):
            self._print(self.looks.dim(clean(text)))

    def line(self, text: str = "") -> None:
        """Print what was asked for, folded to the terminal."""
        for each in clean(text).split("\n"):
            self._print(self._folded(each))

    def rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Print columns that are aligned; the last one is folded."""
        texts = [[clean(cell).replace("\n", " ") for cell in row] for row in rows]
        widths = [max(len(row[index]) for row in texts) for index in range(len(texts[0]) - 1)]
        room = columns() - 2 * len(widths) - sum(widths) if self.looks.is_terminal else 10**6
        for row in texts:
            head = "  ".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True))
            margin = " " * (len(head) + 2)
            tail = textwrap.wrap(row[-1], max(room, 24)) or [""]
            self._print(f"{head}  {f'{chr(10)}{margin}'.join(tail)}".rstrip())

    def heading(self, text: str) -> None:
        """Print the heading of what follows."""
        self._print(self.looks.bold(clean(text)))

    def error(self, error: LocalLLMError) -> None:
        """Say what went wrong; the chat goes on."""
        self._labelled("error: ", error.message, "1;31")
        self._hint(error.hint)

    def note(self, message: str, hint: str | None = None, label: str = "note") -> None:
        """Say what people should know although nothing failed; silent with `--quiet`."""
        if not self.out.quiet:
            self._labelled(f"{label}: ", message, "33")
            self._hint(hint)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Tell people that something goes on, until something is printed."""
        if not (self.out.quiet or self.out.as_json):
            self._waiting = Waiting(what, self.looks)
        try:
            yield
        finally:
            self.calm()

    def goes_on(self, what: str) -> None:
        """Say what is waited for by now."""
        if self._waiting:
            self._waiting.what = what

    def calm(self) -> None:
        """Take the notice off that something goes on."""
        if self._waiting:
            self._waiting.done()
            self._waiting = None
        self.out.close()

    def _hint(self, hint: str | None) -> None:
        if hint:
            self._labelled("hint: ", hint, "36")

    def _labelled(self, label: str, text: str, colour: str) -> None:
        folded = self._folded(f"{label}{clean(text)}".replace("\n", " "))
        styled = f"\x1b[{colour}m{label}\x1b[0m" if self.looks.styles else label
        self._print(styled + folded[len(label) :])

    def _folded(self, text: str) -> str:
        width = min(columns(), _WIDEST) if self.looks.is_terminal else 10**6
        return "\n".join(textwrap.wrap(text, width, replace_whitespace=False))

    def _print(self, text: str) -> None:
        self.calm()
        print(text, file=sys.stderr, flush=True)
