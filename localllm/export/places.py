"""Where other programs look for models on this machine."""

from __future__ import annotations

import json
from pathlib import Path

from localllm.errors import NotFoundError

_POINTER = ".lmstudio-home-pointer"
_LONGEST_POINTER = 4096
_LONGEST_SETTINGS = 1024 * 1024


def lmstudio_models() -> Path:
    """Return the folder in which LM Studio keeps models, the same way on every platform.

    LM Studio's own folder is the one its pointer file names, else `~/.cache/lm-studio`, else `~/.lmstudio`;
    another one for models may stand in its settings. Raise NotFoundError where there is no LM Studio.
    """
    home = _lmstudio_home()
    if home is None:
        raise NotFoundError(
            "there is no LM Studio here: it has made no folder yet",
            hint="start it once, or name the folder of models it shows with `--models-dir DIR`",
        )
    return _chosen_folder(home) or home / "models"


def _lmstudio_home() -> Path | None:
    candidates = [Path.home() / ".cache" / "lm-studio", Path.home() / ".lmstudio"]
    text = _read(Path.home() / _POINTER, _LONGEST_POINTER).strip()
    if text:
        candidates.insert(0, Path(text))
    return next((path for path in candidates if path.is_dir()), None)


def _chosen_folder(home: Path) -> Path | None:
    try:
        settings = json.loads(_read(home / "settings.json", _LONGEST_SETTINGS))
    except (ValueError, RecursionError):
        return None
    chosen = settings.get("downloadsFolder") if isinstance(settings, dict) else None
    return Path(chosen) if isinstance(chosen, str) and Path(chosen).is_absolute() else None


def _read(path: Path, longest: int) -> str:
    try:
        with path.open("rb") as file:
            return file.read(longest).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
