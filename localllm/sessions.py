"""Conversations on disk: one readable JSON file each, written whole after every message, private.

A session is named (kept in `$LOCALLLM_HOME/sessions/`, by default in the platform's data directory)
or given as a path. Messages are OpenAI-style objects. A file that cannot be read is never
overwritten.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localllm.conversation import Message, Role
from localllm.errors import SessionError, UsageError
from localllm.publication import publishing

_SCHEMA = 1
_NAME = re.compile(r"^[\w][\w .-]{0,79}$")


@dataclass(frozen=True)
class Session:
    """A saved conversation."""

    path: Path
    model: str
    messages: tuple[Message, ...] = ()
    created: str = field(default_factory=lambda: _now())

    def with_messages(self, messages: Sequence[Message]) -> Session:
        """Return this session holding `messages`."""
        return replace(self, messages=tuple(messages))


def session_path(name: str) -> Path:
    """Return the file of a session given by name or by path (anything with a separator or `.json`)."""
    if name.endswith(".json") or "/" in name or os.sep in name:
        return Path(name).expanduser()
    if not _NAME.match(name):
        raise UsageError(
            f"`{name}` cannot be a session's name", hint="use letters, digits, spaces, `.`, `_` and `-`"
        )
    return sessions_directory() / f"{name}.json"


def sessions_directory() -> Path:
    """Return where named sessions are kept (it may not exist yet)."""
    home = os.environ.get("LOCALLLM_HOME")
    if home:
        return Path(home).expanduser() / "sessions"
    import platformdirs

    return Path(platformdirs.user_data_dir("localllm", appauthor=False)) / "sessions"


def open_session(name: str, model: str) -> Session:
    """Load a session, or begin an empty one. Raise SessionError when its file cannot be read."""
    path = session_path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Session(path, model)
    except (OSError, UnicodeDecodeError) as error:
        raise SessionError(f"cannot read the session {path}: {error}") from None
    return _parse(text, path, model)


def save_session(session: Session) -> None:
    """Write the session atomically, readable by its owner only. Raise StorageError."""
    content = {
        "schema": _SCHEMA,
        "model": session.model,
        "created": session.created,
        "updated": _now(),
        "messages": [{"role": m.role.value, "content": m.content} for m in session.messages],
    }
    with publishing(session.path) as part:
        part.chmod(0o600)  # before there is anything to read
        with part.open("w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, indent=1)
            file.write("\n")


def _parse(text: str, path: Path, model: str) -> Session:
    try:
        content: Any = json.loads(text)
        messages = tuple(Message(Role(m["role"]), str(m["content"])) for m in content["messages"])
        return Session(path, model, messages, str(content["created"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SessionError(
            f"{path} is not a saved conversation", hint="move it away or choose another `--session` name"
        ) from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
