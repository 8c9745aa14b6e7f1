"""Puts system messages into the user's turns, for templates that know no system role (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SEPARATOR = "\n\n"


def fold_system(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with the text of each system message in front of the next user message's.

    What is left at the end becomes a user message of its own.
    """
    folded: list[dict[str, Any]] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "system":
            waiting.append(str(message["content"]))
        elif waiting and message["role"] == "user":
            folded.append({**message, "content": _SEPARATOR.join([*waiting, str(message["content"])])})
            waiting = []
        else:
            folded.append(dict(message))
    if waiting:
        folded.append({"role": "user", "content": _SEPARATOR.join(waiting)})
    return folded
