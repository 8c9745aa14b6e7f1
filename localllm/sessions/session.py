"""A session that is open: one process holds it, and every saving writes the whole conversation anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from localllm.conversation import Role, now
from localllm.errors import NotFoundError, SessionError, StorageError, UsageError
from localllm.home import make_private
from localllm.publication import publishing, translated_errors
from localllm.sessions.locking import SessionLock
from localllm.sessions.names import SUFFIX, automatic_name, session_name, session_path, sessions_directory
from localllm.sessions.saved import Saved, read_saved, to_text

_ELSEWHERE = "save the conversation in another place"
_Stamp = tuple[int, int, int]


class ChangedError(SessionError):
    """Another program has written the file of a session that is open."""

    code = "session-changed"


class Session:
    """Where a conversation is kept. `saved` is what was read or last written.

    One without a `path` gets it with its first message. Other processes are kept out until `close`.
    """

    def __init__(self, path: Path | None, model: str = "") -> None:
        self.path = path
        self._lock: SessionLock | None = None
        self._stamp: _Stamp | None = None
        self.saved = Saved(model=model)
        if path is not None:
            self._open(path)

    @property
    def name(self) -> str | None:
        """Return what the session is called; None as long as it has no name."""
        return None if self.path is None else session_name(self.path)

    def save(self, saved: Saved) -> None:
        """Write the conversation atomically, readable by its owner only.

        Raise StorageError for what the file system refuses, SessionError when another process has the file,
        ChangedError when it was changed in the meantime; nothing is overwritten then.
        """
        path = self.path or self._begin(saved)
        with translated_errors(path, _ELSEWHERE):
            self._claim(path)
        if path.exists() and _stamp(path) != self._stamp:
            raise ChangedError(
                f"{path} was changed by another program since it was read",
                hint="give this conversation another name",
            )
        saved = replace(saved, updated=now())
        with translated_errors(path, _ELSEWHERE), publishing(path) as part:
            part.chmod(0o600)  # before there is anything to read
            part.write_text(to_text(saved), encoding="utf-8")
        self._stamp = _stamp(path)
        self.saved = saved

    def rename(self, name: str) -> None:
        """Give the session another name; what is saved moves along.

        Raise UsageError when there is a session of that name, SessionError when another process has it.
        """
        path = session_path(name)
        if path == self.path:
            return
        with translated_errors(path, _ELSEWHERE):
            _prepare(path)
            lock = SessionLock(path)
            try:
                if path.exists() and not (self.path and self.path.exists() and path.samefile(self.path)):
                    raise UsageError(f"there is a session `{name}` already", hint="choose another name")
                if self.path is not None and self._stamp is not None:
                    self.path.rename(path)
            except BaseException:
                lock.release()
                raise
        self.close()
        self.path, self._lock = path, lock

    def fork(self) -> None:
        """Go on under another name, a number added to it; the file stays for whoever changed it."""
        if self.path is None:
            return
        self.close()
        old = self.path
        self.path = self._stamp = None
        for path in _numbered(old.with_suffix("")):
            if self._take(path):
                return

    def close(self) -> None:
        """Let other processes have the session; safe to call twice."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, path: Path) -> None:
        with suppress(OSError):  # then it can be read at best, and saving says why
            self._claim(path)
        try:
            self.saved = read_saved(path)
            self._stamp = _stamp(path)
        except FileNotFoundError:
            return
        except BaseException:
            self.close()
            raise

    def _begin(self, saved: Saved) -> Path:
        """Find a name for a conversation that has none."""
        first = next((turn.content for turn in saved.turns if turn.role is Role.USER), "")
        name = automatic_name(first, datetime.now())
        for path in _numbered(sessions_directory() / name):
            with translated_errors(path, _ELSEWHERE):
                if self._take(path):
                    return path
        raise AssertionError("the numbers have run out")

    def _take(self, path: Path) -> bool:
        """Make `path` the place of this session unless somebody has it."""
        _prepare(path)
        try:
            lock = SessionLock(path)
        except SessionError:
            return False
        if path.exists():
            lock.release()
            return False
        self.path, self._lock = path, lock
        return True

    def _claim(self, path: Path) -> None:
        """Keep other processes out, as soon as there is a place for a lock. Raise SessionError, OSError."""
        if self._lock is None:
            _prepare(path)
            self._lock = SessionLock(path)


def begin(model: str) -> Session:
    """Return a new session; it is named by the time and its first words when something is said."""
    return Session(None, model)


def open_session(name: str, model: str = "") -> Session:
    """Open the session of that name or path, or begin it.

    Raise UsageError for an impossible name, SessionError when its file cannot be read or another process
    has it open.
    """
    return Session(session_path(name), model)


def last() -> Session:
    """Open the session that was written last. Raise NotFoundError when there is none, SessionError."""
    newest = max(session_files(), key=modified, default=None)
    if newest is None:
        raise NotFoundError(
            "there is no conversation to continue", hint="`localllm chat` begins one and saves it"
        )
    return Session(newest)


def session_files() -> list[Path]:
    """Return the files of the named sessions, sorted by name. Raise StorageError."""
    directory = sessions_directory()
    try:
        found = [path for path in directory.iterdir() if path.name.endswith(SUFFIX)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError(f"cannot read {directory}: {error.strerror or error}") from None
    return sorted(path for path in found if not path.name.startswith(".") and path.is_file())


def modified(path: Path) -> int:
    """Return when a file was last written, in nanoseconds; 0 when it is gone."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _prepare(path: Path) -> None:
    """Make the directory of a session: for named ones a private one. Raise OSError."""
    if path.parent == sessions_directory():
        make_private(path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)


def _numbered(path: Path) -> Iterator[Path]:
    """Yield the file of a session called like `path`, then those with a number behind the name."""
    yield path.with_name(f"{path.name}{SUFFIX}")
    for number in range(2, 10_000):
        yield path.with_name(f"{path.name} {number}{SUFFIX}")


def _stamp(path: Path) -> _Stamp | None:
    """Return what changes when another program writes a file; None when there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
