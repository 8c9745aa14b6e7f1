"""Progress as data: what a long operation reports while it runs.

Core functions take `emit: Emit = ignore` as their last option and never draw anything; whoever
listens decides what an event looks like. Dropping every event changes no result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Started:
    """A step of known or unknown length begins; `unit` is "bytes", "tensors", "chunks", "files", "steps"."""

    step: str
    total: int | None = None
    unit: str = "steps"


@dataclass(frozen=True)
class Advanced:
    """`done` units of `step` are finished (an absolute count); `detail` names the current item."""

    step: str
    done: int
    detail: str = ""


@dataclass(frozen=True)
class Finished:
    """A step ended well."""

    step: str


@dataclass(frozen=True)
class Notice:
    """Something the user should know although nothing failed, with an optional hint.

    `topic` is a short stable name for programs; `fixed` tells that something was wrong and was put right.
    """

    message: str
    hint: str | None = None
    topic: str = ""
    fixed: bool = False


@dataclass(frozen=True)
class Found:
    """A part of the result of `step` that is certain before its end; `data` is JSON-compatible."""

    step: str
    what: str
    data: dict[str, Any]


Event = Started | Advanced | Finished | Notice | Found
Emit = Callable[[Event], None]

_KINDS: dict[str, type[Event]] = {
    "started": Started,
    "advanced": Advanced,
    "finished": Finished,
    "notice": Notice,
    "found": Found,
}


def ignore(event: Event) -> None:
    """Drop `event`: the default listener."""


def to_json(event: Event) -> dict[str, Any]:
    """Return `event` as a JSON-compatible object, to cross a process boundary."""
    return {"kind": type(event).__name__.lower(), **vars(event)}


def from_json(data: dict[str, Any]) -> Event:
    """Rebuild the event that `to_json` described."""
    fields = dict(data)
    return _KINDS[fields.pop("kind")](**fields)
