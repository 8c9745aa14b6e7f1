"""Reads the text files that people name: a grammar, a schema, something to attach."""

from __future__ import annotations

from pathlib import Path

from localllm.errors import NotFoundError, StorageError, UsageError

MAX_BYTES = 16 * 1024 * 1024


def read_text_file(path: Path, what: str, *, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a file.

    Raise NotFoundError, UsageError when it is not text or too large, StorageError.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{what} cannot be {path}: it is a directory")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise NotFoundError(f"{what} is not there: {path}") from None
    except ValueError as error:  # a name with a null character
        raise UsageError(f"{what} cannot be {path}: {error}") from None
    except OSError as error:
        raise StorageError(f"cannot read {what}, {path}: {error.strerror}") from None
    if len(content) > max_bytes:
        raise UsageError(f"{path} is too large: more than {max_bytes} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8") from None
    if "\0" in text:
        raise UsageError(f"{path} is not text: it holds null characters")
    return text.replace("\r\n", "\n")
