"""Runs the command line as users do: as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "localllm"]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the tests' environment with this checkout importable."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **(extra or {})}


def localllm(
    *arguments: str | Path,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 240,
) -> subprocess.CompletedProcess[str]:
    """Run `localllm ARGUMENTS` and return its exit status and output; stdin is empty unless given."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment(env),
        timeout=timeout,
        check=False,
    )


def files_below(*directories: Path) -> set[Path]:
    """Return every file and directory below `directories`."""
    return {path for directory in directories if directory.is_dir() for path in directory.rglob("*")}
