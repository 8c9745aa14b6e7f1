"""`list_sessions`, `show_session`, `search_sessions`, … : the conversations that were saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localllm import sessions, states
from localllm.errors import LocalLLMError, NotFoundError, SessionError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.publication import publishing, require_distinct
from localllm.sessions import ExportFormat, Saved, SessionEntry, SessionMatch


@dataclass(frozen=True)
class SavedSession:
    """A session with everything in it."""

    name: str
    path: Path
    saved: Saved


@dataclass(frozen=True)
class ExportResult:
    """What was exported: the `text`, and the file it went to, if there is one."""

    format: ExportFormat
    names: tuple[str, ...]
    text: str
    path: Path | None


def list_sessions() -> list[SessionEntry]:
    """Return the saved conversations, the one written last first. Raise StorageError."""
    return sessions.list_sessions()


def show_session(name: str) -> SavedSession:
    """Return a saved conversation, by its name, a part that only its name has, or a path.

    Raise NotFoundError, UsageError, SessionError.
    """
    path = sessions.find(name)
    try:
        return SavedSession(sessions.session_name(path), path, sessions.read_saved(path))
    except FileNotFoundError:  # removed in this moment
        raise NotFoundError(f"there is no session `{name}`") from None


def search_sessions(text: str, *, emit: Emit = ignore) -> list[SessionMatch]:
    """Return every message that contains `text`, in whatever case, those of the latest session first.

    Damaged files are told and passed over. Raise UsageError for an empty text.
    """
    if not text.strip():
        raise UsageError("there is nothing to search for")
    found: list[SessionMatch] = []
    for entry in sessions.list_sessions():
        try:
            found += sessions.search(text, entry.path)
        except SessionError as error:
            emit(Notice(f"not searched: {error.message}"))
        except FileNotFoundError:
            continue
    return found


def rename_session(name: str, new_name: str) -> str:
    """Rename a session and return its new name.

    Raise NotFoundError, UsageError for a name that is taken or impossible, SessionError while it is open.
    """
    session = sessions.open_session(str(sessions.find_exactly(name)))
    try:
        session.rename(new_name)
        return session.name or new_name
    finally:
        session.close()


def plan_session_removal(names: Sequence[str]) -> list[SessionEntry]:
    """Return the sessions that `remove_sessions` would remove. Raise NotFoundError, UsageError."""
    return [sessions.session_entry(path) for path in _distinct(names)]


def remove_sessions(names: Sequence[str]) -> list[str]:
    """Remove sessions with what their models had read of them; return their names.

    Nothing is removed unless all of them exist. Raise NotFoundError, UsageError, and SessionError for one
    that is open.
    """
    paths = _distinct(names)
    for path in paths:
        saved = sessions.remove(path)
        if saved is not None:
            states.remove_state(saved.id)
    return [sessions.session_name(path) for path in paths]


def export_sessions(
    names: Sequence[str] = (),
    form: ExportFormat = ExportFormat.MARKDOWN,
    *,
    everything: bool = False,
    output: Path | None = None,
    force: bool = False,
    emit: Emit = ignore,
) -> ExportResult:
    """Return conversations in another form, all of them with `everything`; written to `output` if given.

    With `everything` damaged files are told and passed over. Raise NotFoundError, SessionError, StorageError,
    and UsageError when `output` exists, unless it may be overwritten by `force`.
    """
    if everything == bool(names):
        raise UsageError("name the sessions to export, or give `--all`", hint="`localllm sessions list`")
    if output is not None and output.exists() and not force:
        raise UsageError(f"{output} exists", hint="choose another file, or overwrite it with `--force`")
    chosen = _all(emit) if everything else [show_session(name) for name in names]
    if form is ExportFormat.JSONL:
        for session in chosen:
            if not sessions.has_answer(session.saved):
                emit(Notice(f"`{session.name}` has no answer to learn from and is left out"))
        chosen = [session for session in chosen if sessions.has_answer(session.saved)]
    if output is not None:
        for session in chosen:
            require_distinct(session.path, output)
    text = sessions.export([(session.name, session.saved) for session in chosen], form)
    if output is not None:
        if not text:
            raise UsageError("there is nothing to export")
        with publishing(output) as part:
            part.chmod(0o600)  # as private as the conversation was
            part.write_text(text, encoding="utf-8")
    return ExportResult(form, tuple(session.name for session in chosen), text, output)


def parse_format(text: str) -> ExportFormat:
    """Return the format called `text`. Raise UsageError for an unknown one."""
    try:
        return ExportFormat(text.lower())
    except ValueError:
        known = ", ".join(form.value for form in ExportFormat)
        raise UsageError(f"there is no format `{text}`", hint=f"there are {known}") from None


def _distinct(names: Sequence[str]) -> list[Path]:
    return list(dict.fromkeys(sessions.find_exactly(name) for name in names))


def _all(emit: Emit) -> list[SavedSession]:
    found = []
    for entry in sessions.list_sessions():
        try:
            found.append(show_session(str(entry.path)))
        except LocalLLMError as error:
            emit(Notice(f"not exported: {error.message}"))
    return found
