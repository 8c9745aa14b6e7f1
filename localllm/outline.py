"""A checkpoint on the hub without its weights: small files from the cache, headers, and holes for the rest.

What looks at shapes only - the converter's plan, exact sizes of quantizations - works on it as on the whole.
Quantized checkpoints keep shapes and settings in small tensors of whole numbers: these are downloaded, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localllm.checkpoint.safetensors_file import read_safetensors
from localllm.checkpoint.weights import WEIGHTS_INDEX
from localllm.errors import CheckpointError
from localllm.events import Emit, ignore
from localllm.hub.cache import RepoFile, cached_repo
from localllm.hub.cached import with_named_shards
from localllm.hub.listing import RepoListing
from localllm.hub.selection import Choice, is_weights
from localllm.hub.snapshot import fetch
from localllm.publication import temporary_directory

if TYPE_CHECKING:
    from localllm.hub.remote_source import RemoteSource

_FIRST_READ_BYTES = 64 * 1024
_MAX_HEADER_BYTES = 100_000_000  # the safetensors package reads no longer ones
_AT_ONCE = 8
_SETTINGS_TYPES = ("U8", "I32", "I64")
_MAX_SETTINGS_BYTES = 4096
_MAX_GAP_BYTES = 16 * 1024  # what lies between two of them costs less than another request


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
    from localllm.hub.remote_file import hub_file
    from localllm.hub.remote_source import RemoteSource

    def source_of(file: RepoFile) -> RemoteSource:
        remote = hub_file(listing.repo, listing.commit, file.path, file.size_bytes)
        return RemoteSource(remote, f"{listing.repo}/{file.path}")

    def make(file: RepoFile, source: RemoteSource) -> None:
        header = _header(source)
        with (directory / file.path).open("wb") as target:
            target.write(header)
            target.truncate(file.size_bytes)

    sources = list(map(source_of, shards))
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(make, shards, sources))
        for file, source in zip(shards, sources, strict=True):
            spans = _settings_spans(directory / file.path)
            with (directory / file.path).open("r+b") as target:
                for (start, _), data in zip(spans, threads.map(partial(_read, source), spans), strict=True):
                    target.seek(start)
                    target.write(data)


def _header(source: RemoteSource) -> bytes:
    start = source.read_at(0, _FIRST_READ_BYTES)
    length = 8 + int.from_bytes(start[:8], "little")
    if len(start) < 8 or length > min(source.size_bytes, _MAX_HEADER_BYTES):
        raise CheckpointError(f"{source.label} is not a valid safetensors file")
    return start[:length] if length <= len(start) else start + source.read_at(len(start), length - len(start))


def _settings_spans(path: Path) -> list[tuple[int, int]]:
    """Return where a file's small tensors of whole numbers lie, as (start, end), near ones together."""
    spans: list[tuple[int, int]] = []
    for tensor in sorted(read_safetensors(path), key=lambda tensor: tensor.offset):
        if tensor.dtype not in _SETTINGS_TYPES or tensor.size_bytes > _MAX_SETTINGS_BYTES:
            continue
        start, end = tensor.offset, tensor.offset + tensor.size_bytes
        if spans and start - spans[-1][1] <= _MAX_GAP_BYTES:
            start = spans.pop()[0]
        spans.append((start, end))
    return spans


def _read(source: RemoteSource, span: tuple[int, int]) -> bytes:
    return source.read_at(span[0], span[1] - span[0])
