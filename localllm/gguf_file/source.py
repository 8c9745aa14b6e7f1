"""Where the bytes of a GGUF file come from: a local file, or anything that can be read at an offset."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from localllm.errors import InvalidGGUFError, LocalLLMError, NotFoundError

# what became a pipe or terminal since we looked must neither block nor take over; O_BINARY is Windows'
_FLAGS = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _flag, 0)


class ByteSource(Protocol):
    """Random access to the bytes of a GGUF file, wherever they are."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def label(self) -> str:
        """What to call the file in an error message."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only at the end of the file."""
        ...


class FileSource:
    """A local file as a ByteSource. Only regular files are opened: a device or pipe can block forever.

    Raise NotFoundError when there is no file, InvalidGGUFError when it is of another kind or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.label = printable(str(path))
        try:
            _require_file(path.stat().st_mode, self.label)
            descriptor = os.open(path, _FLAGS)
        except (OSError, ValueError) as error:  # ValueError: not a possible name
            raise self._unreadable(error) from None
        status = os.fstat(descriptor)
        try:
            _require_file(status.st_mode, self.label)
        except InvalidGGUFError:
            os.close(descriptor)
            raise
        self._file = os.fdopen(descriptor, "rb")
        self.size_bytes = status.st_size

    def read_at(self, offset: int, length: int) -> bytes:
        try:
            self._file.seek(offset)
            return self._file.read(length)
        except OSError as error:
            raise self._unreadable(error) from None

    def close(self) -> None:
        self._file.close()

    def _unreadable(self, error: OSError | ValueError) -> LocalLLMError:
        if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
            return NotFoundError(f"no such file: {self.label}")
        hint = "you have no permission to read it" if isinstance(error, PermissionError) else None
        return InvalidGGUFError(f"cannot read {self.label}: {error.strerror}", hint=hint)


def printable(text: str) -> str:
    """Return `text` on one line, with escapes for what cannot be shown."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def _require_file(mode: int, label: str) -> None:
    if stat.S_ISDIR(mode):
        raise InvalidGGUFError(
            f"{label} is a directory, not a regular file", hint="name the .gguf file in it"
        )
    if not stat.S_ISREG(mode):
        raise InvalidGGUFError(f"{label} is not a regular file", hint="copy it to a file first")
