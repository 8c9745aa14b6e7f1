"""Figures that were measured before, so that no run measures again what is done.

They are found by what was measured (the checksum of the file), how (all settings that matter) and with which
versions. A damaged file counts as none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from localllm.comparison.places import comparisons_directory, read_json, write_json
from localllm.events import Emit, Notice

_SCHEMA = 2  # speeds tell whether the machine was idle


class KeptFigures:
    """What is kept; with `force` only what this very object was given."""

    def __init__(self, *, force: bool = False, emit: Emit) -> None:
        self._force = force
        self._emit = emit
        self._own: set[Path] = set()
        self._is_silent = False

    def find(self, kind: str, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the figures of such a measurement; None when there are none."""
        what = _described(kind, settings)
        path = _place(what)
        if self._force and path not in self._own:
            return None
        found = read_json(path)
        if not isinstance(found, dict) or found.get("of") != what:
            return None
        figures = found.get("figures")
        is_whole = isinstance(figures, dict) and found.get("sha256") == _checksum(figures)
        return figures if is_whole else None

    def keep(self, kind: str, settings: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
        """Keep figures. What goes wrong becomes a Notice, once."""
        what = _described(kind, settings)
        path = _place(what)
        self._own.add(path)
        content = {"of": what, "figures": dict(figures), "sha256": _checksum(figures)}
        try:
            write_json(path, content)
        except OSError as error:
            if not self._is_silent:
                self._emit(Notice(f"what is measured cannot be kept: {error.strerror or error}"))
            self._is_silent = True


def _described(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that decides about a measurement, as JSON has it."""
    what = {"schema": _SCHEMA, "kind": kind, "llama_cpp_python": version("llama-cpp-python"), **settings}
    described: dict[str, Any] = json.loads(json.dumps(what))
    return described


def _place(what: Mapping[str, Any]) -> Path:
    return comparisons_directory() / "results" / f"{_checksum(what)[:40]}.json"


def _checksum(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
