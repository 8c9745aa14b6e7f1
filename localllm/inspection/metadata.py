"""The metadata of a GGUF file: all of it with arrays in short, or single values whole."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from localllm.errors import NotFoundError
from localllm.gguf_file import ArrayValue, GGUFHeader
from localllm.inspection.header_set import read_headers


def metadata_values(path: Path, key: str | None = None) -> dict[str, Any]:
    """Return the metadata of the GGUF file at `path`; see `metadata_in`."""
    return metadata_in(read_headers(path).whole, str(path), key)


def metadata_in(header: GGUFHeader, label: str, key: str | None = None) -> dict[str, Any]:
    """Return the metadata of a header that was read from `label`, arrays only as what they are.

    With `key` return its value alone, an array decoded, or everything below it: `general` has
    `general.name`. Raise NotFoundError with the nearest key.
    """
    if key is None:
        return {name: in_short(value) for name, value in header.metadata.items()}
    value = header.metadata.get(key)
    if value is not None:
        return {
            key: list(map(_jsonable, value.decode())) if isinstance(value, ArrayValue) else in_short(value)
        }
    prefix = key if key.endswith(".") else f"{key}."
    below = {name: in_short(header.metadata[name]) for name in header.metadata if name.startswith(prefix)}
    if key.strip(".") and below:
        return below
    import difflib  # takes long to load, for what goes wrong

    near = difflib.get_close_matches(key, list(header.metadata), n=1)
    raise NotFoundError(
        f"{label} has no metadata `{key}`",
        hint=f"did you mean `{near[0]}`?" if near else "`--kv` lists all of it",
    )


def in_short(value: Any) -> Any:
    """Return a value as it can stand in a list: an array as what it is."""
    if isinstance(value, ArrayValue):
        return f"[{len(value)} x {value.item_type.name.lower()}]"
    return _jsonable(value)


def _jsonable(value: Any) -> Any:
    """Return a value as JSON can hold it, which has neither NaN nor infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
