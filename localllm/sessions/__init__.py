"""Conversations on disk: one readable JSON file each, written whole after every message, private.

A session is named (kept in `$LOCALLLM_HOME/sessions/`, by default in the platform's data directory)
or given as a path; one without a name is called after the time and its first words. A file that cannot
be read is never overwritten.
"""

from localllm.sessions.catalog import (
    SessionEntry,
    SessionMatch,
    find,
    find_exactly,
    list_sessions,
    remove,
    search,
    session_entry,
)
from localllm.sessions.export import ExportFormat, export, has_answer
from localllm.sessions.names import (
    automatic_name,
    first_words,
    session_name,
    session_path,
    sessions_directory,
)
from localllm.sessions.saved import Saved, message_data, read_saved, to_data, to_text
from localllm.sessions.session import ChangedError, Session, begin, last, open_session, session_files

__all__ = [
    "ChangedError",
    "ExportFormat",
    "Saved",
    "Session",
    "SessionEntry",
    "SessionMatch",
    "automatic_name",
    "begin",
    "export",
    "find",
    "find_exactly",
    "first_words",
    "has_answer",
    "last",
    "list_sessions",
    "message_data",
    "open_session",
    "read_saved",
    "remove",
    "search",
    "session_entry",
    "session_files",
    "session_name",
    "session_path",
    "sessions_directory",
    "to_data",
    "to_text",
]
