"""The saved conversations all together: list, find, search, remove. Reading takes no lock."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localllm.conversation import Role
from localllm.errors import NotFoundError, SessionError, UsageError
from localllm.publication import translated_errors
from localllm.sessions.locking import SessionLock
from localllm.sessions.names import first_words, session_name, session_path
from localllm.sessions.saved import Saved, read_saved
from localllm.sessions.session import modified, session_files

_AROUND = 40  # characters of context on each side of what was searched for


@dataclass(frozen=True)
class SessionEntry:
    """A session in a list; `problem` tells why a damaged one could not be read."""

    name: str
    path: Path
    model: str
    messages: int
    created: str | None
    updated: str | None
    first_words: str
    problem: str | None = None


@dataclass(frozen=True)
class SessionMatch:
    """Where a text was found: in which message of a session, counted from 1, with what is around it."""

    session: str
    message: int
    role: Role
    created: str | None
    before: str
    match: str
    after: str


def list_sessions() -> list[SessionEntry]:
    """Return the named sessions, the one written last first. Raise StorageError."""
    newest_first = sorted(session_files(), key=lambda path: (-modified(path), path.name))
    return [session_entry(path) for path in newest_first]


def session_entry(path: Path) -> SessionEntry:
    """Return what a list shows of a session, also of a damaged one."""
    try:
        saved = read_saved(path)
    except (SessionError, FileNotFoundError) as error:
        return SessionEntry(session_name(path), path, "", 0, None, None, "", problem=str(error))
    first = next((turn.content for turn in saved.turns if turn.role is Role.USER), "")
    return SessionEntry(
        session_name(path),
        path,
        saved.model,
        len(saved.turns),
        saved.created,
        saved.updated,
        first_words(first),
    )


def find(text: str) -> Path:
    """Return the file of the session called `text`, or the only one whose name contains it.

    Raise UsageError when several do, NotFoundError with the nearest names, StorageError.
    """
    try:
        return find_exactly(text)
    except (NotFoundError, UsageError) as error:
        names = {session_name(path): path for path in session_files()}
        found = [name for name in names if text.casefold() in name.casefold()]
        if text and len(found) == 1:
            return names[found[0]]
        if text and found:
            listed = ", ".join(f"`{name}`" for name in found[:4])
            more = f" and {len(found) - 4} more" if len(found) > 4 else ""
            raise UsageError(f"`{text}` is in several names", hint=f"name one: {listed}{more}") from None
        raise error from None


def find_exactly(name: str) -> Path:
    """Return the file of the session of that name or path. Raise UsageError, NotFoundError, StorageError."""
    path = session_path(name)
    if path.is_file():
        return path
    near = difflib.get_close_matches(name, [session_name(each) for each in session_files()], n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else "`localllm sessions list` shows what there is"
    raise NotFoundError(f"there is no session `{name}`", hint=hint)


def search(text: str, path: Path) -> Iterator[SessionMatch]:
    """Yield each message of a session that contains `text`, in whatever case. Raise SessionError."""
    pattern = re.compile(re.escape(text), re.IGNORECASE)
    for number, message in enumerate(read_saved(path).messages, start=1):
        content = message.content
        found = pattern.search(content)
        if found:
            begin, end = max(found.start() - _AROUND, 0), found.end() + _AROUND
            before, after = content[begin : found.start()], content[found.end() : end]
            yield SessionMatch(
                session_name(path),
                number,
                message.role,
                message.created,
                ("…" if begin else "") + before,
                found.group(),
                after + ("…" if end < len(content) else ""),
            )


def remove(path: Path) -> Saved | None:
    """Remove a session's file; return what was in it, None when that could not be read.

    Raise SessionError when another process has it open, StorageError.
    """
    with translated_errors(path, "look at its permissions"):
        lock = SessionLock(path)
        try:
            saved = _readable(path)
            path.unlink(missing_ok=True)
        finally:
            lock.release()
    return saved


def _readable(path: Path) -> Saved | None:
    try:
        return read_saved(path)
    except (SessionError, FileNotFoundError):
        return None
