"""Where comparisons are kept, for their owner alone: `$LOCALLLM_HOME/comparisons`.

`results` are figures by what was measured and how, `digests` remember the checksums of files, `references`
hold what references predicted, with the scores of those compared with them, and `runs` whole results.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from localllm.home import home_directory, make_private
from localllm.publication import remove_stale_parts_in, replacing

REFERENCES_LIMIT_BYTES = 2 * 1024**3
_LONGEST_FILE = 64 * 1024 * 1024


def comparisons_directory() -> Path:
    """Return where comparisons are kept (it may not exist yet)."""
    return home_directory() / "comparisons"


def references_directory() -> Path:
    """Return where the predictions of references are."""
    return comparisons_directory() / "references"


def write_json(path: Path, data: Any) -> None:
    """Write `data` to `path` in one step, for its owner alone. Raise OSError.

    It is not forced to the disk: what a power failure damages is recognised and measured again.
    """
    make_private(comparisons_directory())
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with replacing(path, mode=0o600) as part, part.open("w", encoding="utf-8") as file:
        json.dump(data, file)
        file.write("\n")


def read_json(path: Path) -> Any:
    """Return what is in `path`; None when there is nothing, or nothing that can be read."""
    try:
        with path.open("rb") as file:
            return json.loads(file.read(_LONGEST_FILE))
    except (OSError, ValueError, RecursionError):
        return None


def forget_old_references(keep: Iterable[Path] = (), limit_bytes: int = REFERENCES_LIMIT_BYTES) -> None:
    """Remove the references used longest ago until all together take at most `limit_bytes`.

    Those in `keep` stay, whatever they take. Nothing is raised.
    """
    kept = set(keep)
    found = sorted(_references())
    total = sum(size for _, size, _ in found)
    for _, size, path in found:
        if total <= limit_bytes:
            return
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
            total -= size


def remove_leftovers() -> None:
    """Remove what runs that were killed left half-written."""
    import psutil

    for path in references_directory().glob("*/.*.npz"):
        owner = path.name[1:].partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            with suppress(OSError):
                path.unlink()
    with suppress(OSError):
        for folder in comparisons_directory().iterdir():
            remove_stale_parts_in(folder)


def _references() -> list[tuple[float, int, Path]]:
    """Return when each reference was last used, its size in bytes and its directory."""
    found = []
    with suppress(OSError):
        for directory in references_directory().iterdir():
            with suppress(OSError):
                size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
                found.append((directory.stat().st_mtime, size, directory))
    return found
