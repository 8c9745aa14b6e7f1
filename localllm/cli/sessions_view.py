"""Saved conversations for people: lists, whole conversations, what a search found."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from localllm.cli.library_view import relative_time
from localllm.cli.output import Output
from localllm.errors import UsageError

if TYPE_CHECKING:
    from localllm.conversation import Message
    from localllm.sessions import SessionEntry, SessionMatch
    from localllm.verbs.sessions import ExportResult, SavedSession

_LAYOUTS = (  # the columns, and with which ones a narrow terminal makes do
    ("name", "messages", "last", "model", "begins with"),
    ("name", "messages", "last", "begins with"),
    ("name", "messages", "last"),
    ("name", "last"),
)


def show_list(out: Output, entries: Sequence[SessionEntry]) -> None:
    """Print the sessions as a table."""
    out.data({"sessions": entries})
    if not entries:
        out.status("no conversation is saved yet; `localllm chat` begins one")
        return
    now = datetime.now(UTC)
    rows = [
        {
            "name": entry.name,
            "messages": "damaged" if entry.problem else str(entry.messages),
            "last": _ago(entry.updated, now),
            "model": entry.model or "-",
            "begins with": entry.problem or entry.first_words,
        }
        for entry in entries
    ]
    columns = _fitting(rows)
    out.table(columns, [[row[column] for column in columns] for row in rows], numeric=("messages",))


def show_session(out: Output, session: SavedSession) -> None:
    """Print a conversation from its beginning."""
    from localllm.sessions import to_data

    saved = session.saved
    out.data({"name": session.name, "path": session.path, **to_data(saved)})
    if out.as_json:
        return
    about = (
        ("model", saved.model),
        ("persona", saved.persona or ""),
        ("options", ", ".join(f"{name}={value}" for name, value in saved.options.items())),
        ("begun", _clock(saved.created)),
        ("last", _clock(saved.updated)),
    )
    out.text(session.name)
    for label, value in about:
        if value:
            out.text(f"  {label:<8}  {value}")
    for message in saved.messages:
        out.text(f"\n{_heading(message)}")
        out.text(message.content.rstrip("\n"))


def show_matches(out: Output, matches: Sequence[SessionMatch], text: str) -> None:
    """Print where something was said, a line for each message."""
    out.data({"matches": matches})
    for match in matches:
        said = " ".join(f"{match.before}{match.match}{match.after}".split())
        out.text(f"{match.session}: {match.role.value} (message {match.message}): {said}")
    if not matches:
        out.status(f"nobody said `{text}` in a saved conversation")


def show_renamed(out: Output, name: str, new_name: str) -> None:
    """Tell the new name of a session."""
    out.data({"name": new_name, "old_name": name})
    out.status(f"`{name}` is called `{new_name}` now")


def confirm(entries: Sequence[SessionEntry]) -> bool:
    """Show what would go and ask. Raise UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing is removed without asking, and there is no terminal to ask on", hint="add `--yes`"
        )
    for entry in entries:
        what = "damaged" if entry.problem else f"{entry.messages} messages"
        typer.echo(f"{entry.name}  {what}  {entry.first_words}", err=True)
    return typer.confirm("Remove this?" if len(entries) == 1 else "Remove these?", err=True)


def show_removed(out: Output, names: Sequence[str]) -> None:
    """Print what is gone."""
    out.data({"removed": names})
    for name in names:
        out.text(f"removed {name}")


def show_export(out: Output, result: ExportResult) -> None:
    """Print what was exported, unless it went to a file."""
    text = None if result.path else result.text
    out.data({"format": result.format, "sessions": result.names, "path": result.path, "text": text})
    if result.path is None:
        if result.text:
            out.text(result.text.removesuffix("\n"))
        return
    count = f"{len(result.names)} conversation{'s' if len(result.names) > 1 else ''}"
    out.status(f"wrote {count} to {result.path}")


def _fitting(rows: Sequence[dict[str, str]]) -> tuple[str, ...]:
    """Return the columns that fit into the terminal; all of them where there is none."""
    if not sys.stdout.isatty():
        return _LAYOUTS[0]
    width = shutil.get_terminal_size().columns
    return next((columns for columns in _LAYOUTS if _width(columns, rows) <= width), _LAYOUTS[-1])


def _width(columns: Sequence[str], rows: Sequence[dict[str, str]]) -> int:
    return sum(2 + max(len(text) for text in (name, *(row[name] for row in rows))) for name in columns)


def _heading(message: Message) -> str:
    """Return who said something and when, and what became of it."""
    who = message.model or message.role.value if message.role.value == "assistant" else message.role.value
    notes = [_clock(message.created)] if message.created else []
    if message.finish_reason == "interrupted":
        notes.append("stopped")
    elif message.finish_reason == "length":
        notes.append("cut off")
    if message.reasoning:
        notes.append(f"after {len(message.reasoning.split())} words of reasoning")
    if message.alternatives:
        count = len(message.alternatives)
        notes.append(f"{count} other{'s' if count > 1 else ''} before")
    return f"[{who}{', ' if notes else ''}{', '.join(notes)}]"


def _clock(time: str) -> str:
    """Return a time in ISO 8601 as the clock on the wall showed it."""
    try:
        return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return time


def _ago(time: str | None, now: datetime) -> str:
    try:
        return relative_time(time, now) if time else "-"
    except (ValueError, TypeError):  # edited by hand, or without a time zone
        return time or "-"
