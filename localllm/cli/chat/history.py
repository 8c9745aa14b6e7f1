"""What was typed in earlier chats, in a private file in the format of prompt_toolkit's own histories."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from prompt_toolkit.history import History

from localllm.home import home_directory, make_private

_MAX_BYTES = 1024 * 1024
_KEPT_BYTES = _MAX_BYTES // 2


def history_path() -> Path:
    """Return the file of the history (it may not exist yet)."""
    return home_directory() / "history"


class PrivateHistory(History):
    """Entries of all chats; what cannot be written, or is not to be kept, does not outlive the chat.

    A long file loses its older half.
    """

    def __init__(self, path: Path, *, keeps: bool = True) -> None:
        super().__init__()
        self._path = path
        self._keeps = keeps

    def load_history_strings(self) -> Iterable[str]:
        return reversed(_entries(_read(self._path)))

    def append_string(self, string: str) -> None:
        if string.strip() and self.get_strings()[-1:] != [string]:
            super().append_string(string)

    def store_string(self, string: str) -> None:
        if not self._keeps:
            return
        lines = "".join(f"+{line}\n" for line in string.split("\n"))
        entry = f"\n# {datetime.now(UTC).isoformat(sep=' ', timespec='seconds')}\n{lines}"
        with suppress(OSError):  # a history that cannot be kept is no reason to stop talking
            make_private(self._path.parent)
            self._shorten()
            with open(_opened(self._path, os.O_APPEND), "ab") as file:
                file.write(entry.encode("utf-8", "surrogatepass"))

    def _shorten(self) -> None:
        if not self._path.is_file() or self._path.stat().st_size <= _MAX_BYTES:
            return
        content = self._path.read_bytes()[-_KEPT_BYTES:]
        content = content[content.find(b"\n\n# ") + 1 :]  # from the beginning of an entry
        part = self._path.with_name(f".history.part-{os.getpid()}")
        with open(_opened(part, os.O_TRUNC), "wb") as file:
            file.write(content)
        part.replace(self._path)


def _opened(path: Path, flags: int) -> int:
    """Open for writing, for the owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    with suppress(OSError, AttributeError):
        os.fchmod(descriptor, 0o600)
    return descriptor


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def _entries(text: str) -> list[str]:
    """Return the entries of a history file, oldest first."""
    found: list[list[str]] = []
    is_inside = False
    for line in text.split("\n"):
        if line.startswith("+"):
            if not is_inside:
                found.append([])
            found[-1].append(line[1:])
        is_inside = line.startswith("+")
    return ["\n".join(lines) for lines in found]
