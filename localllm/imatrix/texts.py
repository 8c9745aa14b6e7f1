"""The texts a model is run on: files, or else the one that ships with localllm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localllm.errors import NotFoundError, StorageError, UsageError

BUILTIN = "built-in"
_WANTED = "a plain text file in UTF-8 is needed"
_CALIBRATION = Path(__file__).parent / "calibration.txt"


def calibration_texts(paths: Sequence[Path] = ()) -> list[tuple[str, str]]:
    """Return names and contents of the files, or of the built-in text when there are none.

    Raise NotFoundError or StorageError for a file that cannot be read, UsageError when it is no text.
    """
    return [read_text(path) for path in paths] or [builtin_text()]


def calibration_names(paths: Sequence[Path] = ()) -> tuple[str, ...]:
    """Return the names that `calibration_texts` gives, without reading a file."""
    return tuple(map(_name, paths)) or (BUILTIN,)


def builtin_text() -> tuple[str, str]:
    """Return the name and content of the text that ships with localllm."""
    return BUILTIN, _read(_CALIBRATION)


def read_text(path: Path) -> tuple[str, str]:
    """Return the name of a text file, without its directory, and its content.

    One newline at the end is dropped, as llama-imatrix does. Errors as `calibration_texts`.
    """
    text = _read(path.expanduser())
    if "\0" in text:
        raise UsageError(f"{path} is not a text file", hint=_WANTED)
    return _name(path), text


def _name(path: Path) -> str:
    """Return a file's name as it can stand in metadata, which is UTF-8."""
    return path.name.encode("utf-8", "replace").decode()


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace").removesuffix("\n")
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}", hint=_WANTED) from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", hint=_WANTED) from None
