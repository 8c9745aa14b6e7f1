"""Conversations in other forms: Markdown to read, JSON as saved, JSON Lines to fine-tune on (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import StrEnum

from localllm.conversation import Message, Role, view
from localllm.sessions.saved import Saved, to_data, to_text


class ExportFormat(StrEnum):
    MARKDOWN = "markdown"
    JSON = "json"
    JSONL = "jsonl"


_STEERING = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # what would be kept from a terminal
_SPEAKERS = {Role.SYSTEM: "System", Role.USER: "User", Role.ASSISTANT: "Assistant"}


def export(conversations: Sequence[tuple[str, Saved]], form: ExportFormat) -> str:
    """Return conversations, each with its name, as one text.

    JSON is the object of one conversation, or a list of several; JSON Lines has a line
    `{"messages": [{"role": …, "content": …}, …]}` for each with an answer, up to the last one.
    """
    if form is ExportFormat.MARKDOWN:
        return "\n".join(_markdown(name, saved) for name, saved in conversations)
    if form is ExportFormat.JSONL:
        text = "".join(_training_line(saved) for _, saved in conversations)
    elif len(conversations) == 1:
        text = to_text(conversations[0][1])
    else:
        text = json.dumps([to_data(saved) for _, saved in conversations], ensure_ascii=False, indent=1) + "\n"
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def has_answer(saved: Saved) -> bool:
    """Tell whether there is something to learn from a conversation."""
    return any(turn.role is Role.ASSISTANT and turn.content.strip() for turn in saved.turns)


def _training_line(saved: Saved) -> str:
    messages = view(saved.system, saved.turns)
    while messages and messages[-1].role is not Role.ASSISTANT:
        messages.pop()
    if not messages:
        return ""
    content = [{"role": message.role.value, "content": message.content} for message in messages]
    return json.dumps({"messages": content}, ensure_ascii=False) + "\n"


def _markdown(name: str, saved: Saved) -> str:
    parts = [f"# {name}", f"*{saved.model or 'no model'}, {saved.created}*"]
    for message in saved.messages:
        parts += [f"## {_SPEAKERS[message.role]}", *_reasoning(message), message.content.rstrip()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _reasoning(message: Message) -> list[str]:
    """Return the reasoning of an answer as a quotation."""
    return ["\n".join(f"> {line}".rstrip() for line in message.reasoning.splitlines())]
