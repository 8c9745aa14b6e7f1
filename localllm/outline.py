"""A checkpoint on the hub without its weights: small files from the cache, headers, and holes for the rest.

What looks at shapes only - the converter's plan, exact sizes of quantizations - works on it as on the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from localllm.checkpoint.weights import WEIGHTS_INDEX
from localllm.errors import CheckpointError
from localllm.events import Emit, ignore
from localllm.hub.cache import RepoFile, cached_repo
from localllm.hub.cached import with_named_shards
from localllm.hub.listing import RepoListing
from localllm.hub.selection import Choice, is_weights
from localllm.hub.snapshot import fetch
from localllm.publication import temporary_directory

_FIRST_READ_BYTES = 64 * 1024
_MAX_HEADER_BYTES = 100_000_000  # the safetensors package reads no longer ones
_AT_ONCE = 8


def fetch_small_files(listing: RepoListing, choice: Choice, *, emit: Emit = ignore) -> Choice:
    """Download all of a checkpoint but its weights; return the choice with the shards its index names."""
    fetch(listing, [file for file in choice.files if not is_weights(file)], emit=emit)
    index = cached_repo(listing.repo).snapshot(listing.commit) / WEIGHTS_INDEX
    return with_named_shards(choice, listing, index)


@contextmanager
def outline(listing: RepoListing, choice: Choice) -> Iterator[Path]:
    """Yield a directory that looks like the checkpoint; its small files must be in the cache.

    Only the headers of the weights are downloaded. Raise CheckpointError, HubError or OfflineError.
    """
    cached = cached_repo(listing.repo)
    with temporary_directory() as folder:
        directory = folder / listing.repo.rpartition("/")[2]
        directory.mkdir()
        for file in choice.files:
            if not is_weights(file):
                (directory / file.path).symlink_to(cached.place(file, listing.commit).resolve())
        _make_holes(directory, listing, [file for file in choice.files if is_weights(file)])
        yield directory


def _make_holes(directory: Path, listing: RepoListing, shards: Sequence[RepoFile]) -> None:
    def make(file: RepoFile) -> None:
        header = _header(listing, file)
        with (directory / file.path).open("wb") as target:
            target.write(header)
            target.truncate(file.size_bytes)

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(make, shards))


def _header(listing: RepoListing, file: RepoFile) -> bytes:
    from localllm.hub.remote_file import hub_file
    from localllm.hub.remote_source import RemoteSource

    label = f"{listing.repo}/{file.path}"
    source = RemoteSource(hub_file(listing.repo, listing.commit, file.path, file.size_bytes), label)
    start = source.read_at(0, _FIRST_READ_BYTES)
    length = 8 + int.from_bytes(start[:8], "little")
    if len(start) < 8 or length > min(file.size_bytes, _MAX_HEADER_BYTES):
        raise CheckpointError(f"{label} is not a valid safetensors file")
    return start[:length] if length <= len(start) else start + source.read_at(len(start), length - len(start))
