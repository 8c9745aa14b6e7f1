"""One process at a time: whoever has a conversation open holds a lock on `.<file>.lock` beside it.

The lock belongs to the process and goes with it, also when it is killed. The file tells who holds it.
"""

from __future__ import annotations

import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path

from localllm.errors import SessionError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_ATTEMPTS = 20
_FAR = 1 << 20  # the byte that is locked on Windows, where a locked byte cannot be read


class SessionLock:
    """The right to write a session's file. Raise SessionError when another process has it."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f".{path.name}.lock")
        self._descriptor = self._acquire(path)
        self._finalizer = weakref.finalize(self, _release, self._path, self._descriptor)

    def release(self) -> None:
        """Let others have it; safe to call twice."""
        self._finalizer()

    def _acquire(self, path: Path) -> int:
        """Lock the file that is there; one that its holder removed in between is left alone.

        Raise OSError when there cannot be a lock file.
        """
        for _ in range(_ATTEMPTS):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _lock(descriptor)
                if _is_at(descriptor, self._path):
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                    return descriptor
            except BlockingIOError:
                holder = _holder(self._path)
                os.close(descriptor)
                raise SessionError(
                    f"the session `{path.name.removesuffix('.json')}` is open in another localllm{holder}",
                    hint="close it there, or begin another with `--session NAME`",
                ) from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise SessionError(f"cannot lock {path}: its lock keeps changing hands")


def _lock(descriptor: int) -> None:
    """Take the lock. Raise BlockingIOError when it is taken; a file system without locks has none."""
    if sys.platform == "win32":
        try:
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _holder(path: Path) -> str:
    try:
        number = path.read_bytes()[:20].strip()
    except OSError:
        return ""
    return f", process {int(number)}" if number.isdigit() else ""


def _release(path: Path, descriptor: int) -> None:
    """Remove the lock file while it is still ours, then let go."""
    with suppress(OSError):
        path.unlink()
    with suppress(OSError):
        os.close(descriptor)
