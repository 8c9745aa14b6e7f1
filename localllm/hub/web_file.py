"""A GGUF file at a web address that is not the hub's: downloaded to a place of its own, and resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from localllm.errors import UsageError
from localllm.events import Emit, ignore
from localllm.hub.cache import RepoFile, is_safe_path

_SUFFIX = ".gguf"


def web_file_name(url: str) -> str:
    """Return the name of the file at `url`. Raise UsageError when that is no GGUF file's."""
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name.lower().endswith(_SUFFIX) or not is_safe_path(name) or name.startswith("."):
        raise UsageError(
            f"{url[:200]} is not the address of a .gguf file",
            hint="name the file itself, or a repository of the hub such as `org/repo:Q4_K_M`",
        )
    return name


def fetch_web_file(
    url: str, target: Path, inspect: Callable[[Path], None], *, emit: Emit = ignore
) -> tuple[int, int]:
    """Download `url` to `target`; return the bytes that came now and those that were here from before.

    There is no checksum to compare with: `inspect` looks at the whole before it gets its name. Raise
    HubError, OfflineError, StorageError, and what `inspect` raises.
    """
    from localllm.hub.download import Job, download
    from localllm.hub.remote_file import find_file

    remote, validator = find_file(url)
    hidden = target.with_name(f".{target.name}")
    job = Job(
        file=RepoFile(target.name, remote.size_bytes, ""),
        remote=remote,
        target=target,
        part=hidden,
        lock=hidden.with_name(f"{hidden.name}.lock"),
        new_digest=hashlib.sha256,
        expected=None,
        validator=validator,
        inspect=inspect,
    )
    try:
        took = download([job], emit=emit)[0]
    finally:
        job.lock.unlink(missing_ok=True)
    return took.downloaded_bytes, took.resumed_bytes
