"""The standard streams: there are always three, and what cannot be printed is told from other errors.

A shell can close them (`localllm list >&-`). The next file that is opened would then be in their place, and
be printed into.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any


def complete_streams() -> None:
    """Fill the places of closed standard streams; printing to a closed standard output fails."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = os.fdopen(0)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")
    if sys.stdout is None:
        sys.stdout = _Output(io.BufferedWriter(_Closed()), encoding="utf-8")
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Output(
            sys.stdout.buffer,
            encoding=sys.stdout.encoding,
            errors="replace",
            line_buffering=sys.stdout.line_buffering,
            write_through=sys.stdout.write_through,
        )
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="replace")


def output_failure() -> OSError | None:
    """Write what was printed so far; return what kept standard output from taking it, now or before."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return sys.stdout.failure if isinstance(sys.stdout, _Output) else None


class _Output(io.TextIOWrapper):
    """Standard output that remembers how it failed."""

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self.failure = error
            raise


class _Closed(io.RawIOBase):
    """Where nothing can be written to."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
