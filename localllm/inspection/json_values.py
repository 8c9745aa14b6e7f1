"""The values of a JSON file under their whole names: `rope_scaling.factor`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from localllm.errors import NotFoundError


def values_in(content: Mapping[str, Any], label: str, key: str | None = None) -> dict[str, Any]:
    """Return all values, the one under `key` or those below it. Raise NotFoundError with the nearest key."""
    values = dict(_flat(content, ""))
    if key is None:
        return values
    below = {name: value for name, value in values.items() if name == key or name.startswith(f"{key}.")}
    if below:
        return below
    near = difflib.get_close_matches(key, list(values), n=1)
    raise NotFoundError(
        f"{label} has no `{key}`",
        hint=f"did you mean `{near[0]}`?" if near else "`--kv` lists all of it",
    )


def _flat(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
