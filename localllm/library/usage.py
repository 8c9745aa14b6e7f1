"""When a model was last used, and whether somebody uses it now: a record of our own, for access times lie.

`$LOCALLLM_HOME/used/<hash of the path>` holds the path of a model; its time is that of the last use. Whoever
uses a model keeps a shared lock on its record as long as the process lives, where locks can be shared (not
on Windows, which does not let go of open files anyway). Losing a record loses nothing else.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from localllm.store import models_directory

if sys.platform != "win32":
    import fcntl

_DIRECTORY = "used"
_held: dict[Path, int] = {}  # records this process has locked, with their descriptors


def note_use(path: Path) -> None:
    """Note that the model at `path` (of a split one the first file) is used from now on.

    It counts as in use until this process ends. Nothing is ever raised.
    """
    with suppress(OSError, RuntimeError, ValueError):
        record = _record(path)
        record.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _held.get(record)
        if descriptor is None:
            descriptor = os.open(record, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if os.fstat(descriptor).st_size == 0:
                    os.write(descriptor, _resolved(path).encode("utf-8", "surrogateescape"))
            finally:
                _hold(record, descriptor)
        os.utime(record)


def last_used(path: Path) -> datetime | None:
    """Return when the model at `path` was last used, in UTC; None when it never was."""
    try:
        return datetime.fromtimestamp(_record(path).stat().st_mtime, UTC)
    except (OSError, RuntimeError, ValueError):
        return None


def is_in_use(path: Path) -> bool:
    """Tell whether another process uses the model at `path`."""
    record = _record(path)
    _release(record)
    if sys.platform == "win32":
        return False
    try:
        descriptor = os.open(record, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


def forget(path: Path) -> None:
    """Remove the record of a model that is being removed, before its files are."""
    record = _record(path)
    _release(record)
    with suppress(OSError):
        record.unlink()


def stale_records() -> Iterator[Path]:
    """Yield the records of models that are gone."""
    directory = models_directory().parent / _DIRECTORY
    for record in sorted(directory.iterdir()) if directory.is_dir() else ():
        with suppress(OSError):
            path = record.read_bytes().decode("utf-8", "surrogateescape")
            if path and not os.path.lexists(path):
                yield record


def _hold(record: Path, descriptor: int) -> None:
    """Keep a shared lock as long as the process lives; without one the descriptor is of no use."""
    if sys.platform != "win32":
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            _held[record] = descriptor
            return
    os.close(descriptor)


def _release(record: Path) -> None:
    descriptor = _held.pop(record, None)
    if descriptor is not None:
        os.close(descriptor)


def _record(path: Path) -> Path:
    name = hashlib.sha256(_resolved(path).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return models_directory().parent / _DIRECTORY / name


def _resolved(path: Path) -> str:
    return os.path.realpath(path)
