"""Locks between processes, those that huggingface_hub takes: who downloads a blob holds its lock."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout


def taken(path: Path) -> BaseFileLock | None:
    """Return the lock at `path`, taken; None when another process has it. OSErrors pass through."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock: BaseFileLock = FileLock(path, mode=0o664, thread_local=False)
    with suppress(Timeout):
        try:
            lock.acquire(blocking=False)
        except NotImplementedError:  # a file system without locks
            lock = SoftFileLock(path, thread_local=False)
            lock.acquire(blocking=False)
    return lock if lock.is_locked else None


def release(lock: BaseFileLock) -> None:
    with suppress(OSError):
        lock.release()
