"""What sessions are called and where they are kept: a name of their own, or the time and the first words."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

from localllm.errors import UsageError
from localllm.home import home_directory

SUFFIX = ".json"
_NAME = re.compile(r"\w[\w .-]*")
_LONGEST = 160  # bytes; file systems take 255, of which locks and parts need some
_WORDS = 6
_WORDS_LENGTH = 40
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # on Windows
_OPENERS = (  # what says nothing of a question when it stands in front
    " a about an and are can could did do does explain for give hello hey hi how i i'm in is it let me my "
    "of ok okay on please should show so tell that the there this to us want was we were what what's when "
    "where which who why will with would you your "
)


def sessions_directory() -> Path:
    """Return where named sessions are kept (it may not exist yet)."""
    return home_directory() / "sessions"


def session_path(name: str) -> Path:
    """Return the file of a session given by name or by path (anything with a separator or `.json`).

    Raise UsageError for what cannot be a name.
    """
    if name.endswith(SUFFIX) or "/" in name or os.sep in name:
        return Path(name).expanduser()
    is_possible = (
        _NAME.fullmatch(name)
        and name == name.rstrip(" .")
        and len(name.encode()) <= _LONGEST
        and not _RESERVED.match(name)
    )
    if not is_possible:
        raise UsageError(
            f"`{name[:_LONGEST]}` cannot be a session's name",
            hint="use letters, digits, spaces, `.`, `_` and `-`",
        )
    return sessions_directory() / f"{name}{SUFFIX}"


def session_name(path: Path) -> str:
    """Return what a session is called that is kept at `path`: its name, or the path of one kept elsewhere."""
    return path.name.removesuffix(SUFFIX) if path.parent == sessions_directory() else str(path)


def automatic_name(text: str, time: datetime) -> str:
    """Return a name made of the time and the first words that say something.

    "What is the capital of France?" → `2026-11-25 14.03 capital of france`
    """
    words = re.findall(r"\w[\w'’.-]*", text[:1000].lower())
    telling = next((at for at, word in enumerate(words) if f" {word.strip('.')} " not in _OPENERS), 0)
    chosen = " ".join(re.sub(r"[^\w-]+", "", word) for word in words[telling : telling + _WORDS])
    if len(chosen) > _WORDS_LENGTH:
        cut = chosen[: _WORDS_LENGTH + 1]
        chosen = cut.rsplit(" ", 1)[0] if " " in cut else cut[:_WORDS_LENGTH]
    return f"{time:%Y-%m-%d %H.%M} {chosen}".encode()[:_LONGEST].decode(errors="ignore").rstrip(" .")


def first_words(text: str, length: int = 60) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: 8 * length].split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
