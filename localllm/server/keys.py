"""The keys that open the server: where they come from, and whether one is right."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from localllm.errors import NotFoundError, StorageError, UsageError

VARIABLE = "LOCALLLM_API_KEY"
_MAX_FILE_BYTES = 1024 * 1024


class Keys:
    """Known keys, kept as digests: comparing takes the same time for every key, right or wrong."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def know(self, key: str) -> bool:
        """Return whether `key` is one of them."""
        given = _digest(key)
        found = [hmac.compare_digest(given, digest) for digest in self._digests]
        return any(found)


def read_keys(given: Sequence[str], file: Path | None) -> Keys:
    """Return the keys given as options, in a file (one a line) and in the variable LOCALLLM_API_KEY.

    Raise UsageError for keys that no request could carry, NotFoundError and StorageError for the file.
    """
    keys = [*given, *([] if file is None else _lines(file))]
    named = os.environ.get(VARIABLE)
    if named is not None and not keys:
        keys = [named]
    for key in keys:
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise UsageError("an API key must be ASCII letters, digits and signs without spaces")
    return Keys(keys)


def _lines(file: Path) -> list[str]:
    try:
        with file.expanduser().open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file of keys {file}") from None
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise UsageError(f"{file} is no file of keys: it is larger than 1 MiB")
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise UsageError(f"{file} holds no key", hint="write one key on each line")
    return keys


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
