"""Where the bytes of a GGUF file come from: a local file, or anything that can be read at an offset."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from localllm.errors import InvalidGGUFError, NotFoundError

# a pipe without a writer must not block before we can see that it is one; O_BINARY is Windows'
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


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
    """A local file as a ByteSource. Only regular files are opened: a device or pipe can block forever."""

    def __init__(self, path: Path) -> None:
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:
            raise NotFoundError(f"no such file: {path}") from None
        except OSError as error:
            raise InvalidGGUFError(f"cannot read {path}: {error.strerror}") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise InvalidGGUFError(f"{path} is not a regular file")
        self._file = os.fdopen(descriptor, "rb")
        self.size_bytes = status.st_size
        self.label = str(path)

    def read_at(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def close(self) -> None:
        self._file.close()
