"""Where localllm keeps what belongs to its user: one folder, parts of it for its owner's eyes only."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def home_directory() -> Path:
    """Return `$LOCALLLM_HOME`, by default the platform's data directory (it may not exist yet)."""
    home = os.environ.get("LOCALLLM_HOME")
    if home:
        return Path(home).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("localllm", appauthor=False))


def make_private(directory: Path) -> None:
    """Create `directory` for its owner alone, or make it so. Raise OSError when it cannot be created."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    with suppress(OSError):
        if directory.stat().st_mode & 0o077:  # made by an earlier version
            directory.chmod(0o700)
