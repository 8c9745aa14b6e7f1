"""Collects llama.cpp's log lines.

llama.cpp keeps a bare pointer to its log callback and calls it from any point, also in the middle
of C++ code: the callback object below is a module global (it outlives every call), only appends,
and never raises. Readers take the lines later, from Python.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NamedTuple


class LogLevel(IntEnum):
    """ggml's log levels (enum ggml_log_level in ggml.h; the binding's comment has an older order)."""

    NONE = 0
    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4
    CONTINUED = 5


class LogLine(NamedTuple):
    level: int
    text: str


_KEPT_LINES = 4000
_pending: deque[tuple[int, bytes]] = deque(maxlen=_KEPT_LINES)
_everything: list[bytes] | None = None  # the texts of all messages, while somebody wants them
_recent: deque[LogLine] = deque(maxlen=_KEPT_LINES)


def _keep(level: int, text: bytes | None, _user_data: int | None) -> None:
    _pending.append((level, text or b""))
    if _everything is not None:
        _everything.append(text or b"")


CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(_keep)


@contextmanager
def whole_log() -> Iterator[list[bytes]]:
    """Yield a list that all messages are appended to while the body runs, however many."""
    global _everything
    collected: list[bytes] = []
    _everything = collected
    try:
        yield collected
    finally:
        _everything = None


def take() -> list[LogLine]:
    """Return the messages that came in since the last call, and keep them for `last_errors`."""
    lines = []
    while _pending:
        level, text = _pending.popleft()
        lines.append(LogLine(level, text.decode("utf-8", "replace")))
    _recent.extend(lines)
    return lines


def clear() -> None:
    """Forget everything collected so far."""
    _pending.clear()
    _recent.clear()


def recent() -> list[LogLine]:
    """Return all messages since `clear`, the oldest ones left out when there were thousands."""
    take()
    return list(_recent)


def last_errors(count: int = 1) -> list[str]:
    """Return the last `count` error messages, without the name of the C++ function in front."""
    errors = [line.text.strip() for line in recent() if line.level == LogLevel.ERROR and line.text.strip()]
    return [_without_function(text) for text in errors[-count:]]


def _without_function(text: str) -> str:
    """Drop a leading `some_function: ` that says nothing to a user."""
    head, colon, rest = text.partition(": ")
    return rest if colon and " " not in head and "_" in head else text
