"""Finds system prompts: by the name of a persona, in a file, or as they stand.

A persona is a text file `NAME.md` or `NAME.txt`, in `$LOCALLLM_HOME/personas`, in `personas` of the
platform's configuration directory (`~/.config/localllm` on Linux), or shipped; earlier places come first.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from localllm.errors import NotFoundError, StorageError, UsageError

_SUFFIXES = (".md", ".txt")
_NAME = re.compile(r"\w[\w .-]*")
_LONGEST_NAME = 80
_LONGEST_BYTES = 1_000_000


def personas_directories() -> list[Path]:
    """Return where personas are looked for (the directories may not exist)."""
    import platformdirs

    home = os.environ.get("LOCALLLM_HOME")
    own = [Path(home).expanduser() / "personas"] if home else []
    config = Path(platformdirs.user_config_dir("localllm", appauthor=False)) / "personas"
    return [*own, config, Path(__file__).resolve().parent / "shipped"]


def names() -> list[str]:
    """Return the names of all personas there are, sorted."""
    return sorted(_files(), key=str.casefold)


def find_persona(name: str) -> str:
    """Return the system prompt of a persona.

    Raise UsageError for an impossible name, NotFoundError with the nearest ones, StorageError when its file
    cannot be read.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UsageError(
            f"`{name[:_LONGEST_NAME]}` cannot be a persona's name",
            hint="it is the name of a file in a `personas` directory, without `.md` or `.txt`",
        )
    files = _files()
    if name not in files:
        raise NotFoundError(f"there is no persona `{name}`", hint=_hint(name, sorted(files)))
    return _read(files[name], "the persona")


def system_prompt(system: str | None, persona: str | None) -> str | None:
    """Return the system prompt that `--system TEXT|@FILE` or `--persona NAME` stands for; None for neither.

    A text that begins with `@` is written `@@`. Raise UsageError for both, or for an empty one.
    """
    if system is not None and persona is not None:
        raise UsageError("a persona is a system prompt", hint="give `--persona` or `--system`, not both")
    if persona is not None:
        return find_persona(persona)
    if system is None or not system.startswith("@"):
        return system
    if system.startswith("@@"):
        return system[1:]
    if system == "@":
        raise UsageError("there is no file name behind `@`", hint="write `--system @prompt.txt`")
    return _read(Path(system[1:]).expanduser(), "the system prompt")


def _files() -> dict[str, Path]:
    """Return the file of each persona; the first directory that has a name counts."""
    found: dict[str, Path] = {}
    for directory in personas_directories():
        try:
            paths = sorted(directory.iterdir())
        except OSError:
            continue
        for path in paths:
            is_named = _NAME.fullmatch(path.stem) and len(path.stem) <= _LONGEST_NAME
            if path.suffix in _SUFFIXES and is_named and path.is_file():
                found.setdefault(path.stem, path)
    return found


def _hint(name: str, known: list[str]) -> str:
    by_folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), list(by_folded), n=3)
    if near:
        return f"did you mean {', '.join(f'`{by_folded[each]}`' for each in near)}?"
    return (
        f"there are {', '.join(f'`{each}`' for each in known)}; add your own in {personas_directories()[0]}"
    )


def _read(path: Path, what: str) -> str:
    """Read a text of at most 1 MB. Raise NotFoundError, StorageError, UsageError."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no file")
        with path.open("rb") as file:
            data = file.read(_LONGEST_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}") from None
    except OSError as error:
        raise StorageError(f"cannot read {what} {path}: {error.strerror or error}") from None
    if len(data) > _LONGEST_BYTES:
        raise UsageError(f"{what} in {path} is longer than {_LONGEST_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{what} in {path} is not UTF-8 text") from None
    if not text.strip():
        raise UsageError(f"{what} in {path} is empty")
    return text.strip()
