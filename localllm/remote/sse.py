"""Reads server-sent events: what stands behind `data:`, put together line by line (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

LONGEST_EVENT = 4 * 1024 * 1024  # characters
_FIELDS = ("data", "error")  # llama-server tells errors in a field of their own


def events(lines: Iterable[str]) -> Iterator[str]:
    """Yield the data of each event; comments and other fields are passed over.

    Raise ValueError for an event that is longer than any answer's piece.
    """
    data: list[str] = []
    length = 0
    for line in lines:
        if not line:
            if data:
                yield "\n".join(data)
            data, length = [], 0
            continue
        field, _, value = line.partition(":")
        if field in _FIELDS:
            data.append(value.removeprefix(" "))
            length += len(value)
            if length > LONGEST_EVENT:
                raise ValueError("an event is too long")
    if data:
        yield "\n".join(data)
