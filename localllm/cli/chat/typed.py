"""What was typed, as text: blocks in triple quotes, and what begins with a slash (pure)."""

from __future__ import annotations

import re

QUIT_WORDS = ("quit", "/quit", "exit", "/exit")
QUOTES = '"""'
_OPENED = re.compile(r'\s*(?:/[\w-]+[ \t]+)?"""')
_COMMAND = re.compile(r"/([A-Za-z][\w-]*|\?)(?:\s+(.*))?", re.DOTALL)


def is_open(text: str) -> bool:
    """Tell whether `text` begins a block in triple quotes that has not ended."""
    opening = _OPENED.match(text)
    if opening is None:
        return False
    inside = text[opening.end() :].rstrip()
    return not inside.endswith(QUOTES)


def unquoted(text: str) -> str:
    """Return `text` without triple quotes around it, if there are any, and the line breaks within."""
    stripped = text.strip()
    if len(stripped) >= 2 * len(QUOTES) and stripped.startswith(QUOTES) and stripped.endswith(QUOTES):
        return stripped[len(QUOTES) : -len(QUOTES)].strip("\n")
    return text


def command_in(text: str) -> tuple[str, str] | None:
    """Return the name and the rest of what is written as a command; None for a message.

    `/etc/hosts` is no command, nor is what begins with a space.
    """
    match = _COMMAND.fullmatch(text.rstrip())
    return (match[1].lower(), (match[2] or "").strip()) if match else None


def is_quit(text: str) -> bool:
    """Tell whether `text` ends the chat."""
    return text.strip().lower() in QUIT_WORDS
