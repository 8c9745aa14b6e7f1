"""The form of a saved conversation: readable JSON with OpenAI-style messages, one of them a line.

    {"schema": 2, "id": …, "model": …, "created": …, "updated": …, "persona": …, "options": {…},
     "compactions": [{"summary": …, "covers": [first, last], "created": …}],
     "messages": [{"role": …, "content": …, "created": …, …}]}

`covers` counts the `messages` from 0. Schema 1, without id, options and compactions, is read too. What a
file holds besides is kept as it is.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localllm.conversation import Compaction, Message, Role, now, well_formed, with_system
from localllm.errors import SessionError

SCHEMA = 2
_ID = re.compile(r"[0-9a-f]{16}")  # it also names a file
_OPTIONAL = ("created", "model", "finish_reason")
_LINED = ("compactions", "messages")
_KNOWN = ("schema", "id", "model", "created", "updated", "persona", "options", "compactions", "messages")


@dataclass(frozen=True)
class Saved:
    """A conversation as its file holds it; `turns` is everything said, without the system message."""

    model: str = ""
    turns: tuple[Message, ...] = ()
    system: str | None = None
    persona: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    compactions: tuple[Compaction, ...] = ()
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def messages(self) -> list[Message]:
        """Return the system message, if there is one, and the turns."""
        return with_system(self.system, self.turns)


def to_data(saved: Saved) -> dict[str, Any]:
    """Return a conversation as the object that stands in its file."""
    shift = 1 if saved.system else 0
    compactions = [
        {"summary": each.summary, "covers": [each.first + shift, each.last + shift], "created": each.created}
        for each in saved.compactions
    ]
    optional = {"persona": saved.persona, "options": dict(saved.options), "compactions": compactions}
    return {
        "schema": SCHEMA,
        "id": saved.id,
        "model": saved.model,
        "created": saved.created,
        "updated": saved.updated,
        **saved.extra,
        **{name: value for name, value in optional.items() if value},
        "messages": [message_data(message) for message in saved.messages],
    }


def to_text(saved: Saved) -> str:
    """Return a conversation as the text of its file: one message a line, so that people can read it too."""
    members = [
        f" {_json(name)}: {_lines(value) if name in _LINED else _json(value)}"
        for name, value in to_data(saved).items()
    ]
    return "{\n" + ",\n".join(members) + "\n}\n"


def message_data(message: Message) -> dict[str, Any]:
    """Return a message as the object that stands in a file."""
    data: dict[str, Any] = {"role": message.role.value, "content": message.content}
    for name in (*_OPTIONAL, "reasoning"):
        if getattr(message, name):
            data[name] = getattr(message, name)
    if message.alternatives:
        data["alternatives"] = [[message_data(each) for each in run] for run in message.alternatives]
    return data


def read_saved(path: Path) -> Saved:
    """Read a saved conversation. Raise FileNotFoundError, and SessionError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise SessionError(f"cannot read the session {path}: {error}") from None
    try:
        content: Any = json.loads(text)
        if (
            isinstance(content, dict)
            and isinstance(content.get("schema"), int)
            and content["schema"] > SCHEMA
        ):
            raise SessionError(
                f"{path} was written by a newer localllm", hint="update localllm to go on with it"
            )
        return _parse(content)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SessionError(
            f"{path} is not a saved conversation", hint="move it away or choose another `--session` name"
        ) from None


def _parse(content: Any) -> Saved:
    """Raise ValueError, KeyError or TypeError for what is not a conversation."""
    messages = [_message(each) for each in _list(content["messages"])]
    system = messages[0].content if messages and messages[0].role is Role.SYSTEM else None
    turns = messages if system is None else messages[1:]
    shift = len(messages) - len(turns)
    compactions = [_compaction(each, shift) for each in _list(content.get("compactions", []))]
    created = _text(content["created"])
    return Saved(
        model=_text(content.get("model", "")),
        turns=tuple(turns),
        system=system or None,
        persona=_text(content["persona"]) if content.get("persona") is not None else None,
        options=dict(content.get("options", {})),
        compactions=tuple(each for each in compactions if 0 <= each.first <= each.last < len(turns)),
        id=_id(content.get("id")),
        created=created,
        updated=_text(content.get("updated", created)),
        extra={name: value for name, value in content.items() if name not in _KNOWN},
    )


def _message(data: Any) -> Message:
    optional = {name: _text(data[name]) for name in _OPTIONAL if data.get(name) is not None}
    return Message(
        Role(data["role"]),
        _text(data["content"]),
        **optional,
        reasoning=_text(data.get("reasoning", "")),
        alternatives=tuple(
            tuple(_message(each) for each in _list(run)) for run in _list(data.get("alternatives", []))
        ),
    )


def _compaction(data: Any, shift: int) -> Compaction:
    first, last = data["covers"]
    return Compaction(_text(data["summary"]), int(first) - shift, int(last) - shift, _text(data["created"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return well_formed(value)


def _id(value: Any) -> str:
    return value if isinstance(value, str) and _ID.fullmatch(value) else secrets.token_hex(8)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(items: list[Any]) -> str:
    """Return a JSON array with one item a line."""
    return "[\n" + ",\n".join(f"  {_json(item)}" for item in items) + "\n ]" if items else "[]"
