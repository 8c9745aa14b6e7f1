"""Comparisons as JSON-compatible data, and back: for the history, and for events."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


def to_data(record: Any) -> dict[str, Any]:
    """Return a record of `measurement` as data: dictionaries, lists, numbers, texts."""
    data: dict[str, Any] = dataclasses.asdict(record)
    return data


def from_data(kind: type[Record], data: Any) -> Record:
    """Rebuild what `to_data` described; unknown fields are left out. Raise ValueError for anything else."""
    if not isinstance(data, Mapping):
        raise ValueError(f"no data of a {kind.__name__}")
    hints: dict[str, Any] = _hints(kind)  # type: ignore[arg-type]
    try:
        return kind(**{name: _value(hints[name], data[name]) for name in hints if name in data})
    except TypeError as error:
        raise ValueError(f"no data of a {kind.__name__}: {error}") from None


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, data: Any) -> Any:
    if get_origin(hint) is types.UnionType:
        if data is None:
            return None
        (hint,) = (each for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint), data)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_data(hint, data)
    if hint is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, hint):
        raise ValueError(f"{data!r} is no {hint.__name__}")
    return data


def _tuple(items: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    if not isinstance(data, list | tuple):
        raise ValueError(f"{data!r} is no list")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_value(items[0], each) for each in data)
    if len(items) != len(data):
        raise ValueError(f"{data!r} is not {len(items)} long")
    return tuple(_value(hint, each) for hint, each in zip(items, data, strict=True))
