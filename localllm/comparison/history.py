"""Comparisons that were made: one file each, `runs/<id>.json`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from localllm.comparison.data import from_data, to_data
from localllm.comparison.measurement import ComparisonResult
from localllm.comparison.places import comparisons_directory, read_json, write_json
from localllm.events import Emit, Notice, ignore

_SCHEMA = 1


def new_id() -> tuple[str, str]:
    """Return an id for a comparison that begins now, and the time (ISO 8601, UTC). Later ids sort behind."""
    moment = datetime.now(UTC)
    name = f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}-{secrets.token_hex(2)}"
    return name, moment.isoformat(timespec="seconds")


def keep_run(result: ComparisonResult, *, emit: Emit = ignore) -> None:
    """Put a comparison into the history. What goes wrong becomes a Notice."""
    try:
        write_json(_runs() / f"{result.id}.json", {"schema": _SCHEMA, "comparison": to_data(result)})
    except OSError as error:
        emit(Notice(f"the comparison could not be put into the history: {error.strerror or error}"))


def runs() -> Iterator[ComparisonResult]:
    """Yield the comparisons of the history, newest first; what cannot be read is left out."""
    found = sorted(_runs().glob("*.json"), reverse=True) if _runs().is_dir() else []
    for path in found:
        with suppress(ValueError, KeyError, TypeError):
            data = read_json(path)
            if data["schema"] == _SCHEMA:
                yield from_data(ComparisonResult, data["comparison"])


def _runs() -> Path:
    return comparisons_directory() / "runs"
