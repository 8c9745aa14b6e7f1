"""What a reference to the hub means on this machine alone, without the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from localllm.checkpoint.weights import WEIGHTS_INDEX
from localllm.errors import LocalLLMError
from localllm.hub.cache import CachedRepo, RepoFile, cached_repo
from localllm.hub.listing import RepoListing
from localllm.hub.selection import Choice, RepoKind, Wish, checkpoint_files, choose, gguf_sets


@dataclass(frozen=True)
class CachedChoice:
    """A choice all of whose files are here; `path` is the first GGUF file, or a checkpoint's directory."""

    listing: RepoListing
    choice: Choice
    path: Path


def find_cached(repo: str, revision: str | None, wish: Wish) -> CachedChoice | None:
    """Return what `wish` means of a repository when all of it is here; None otherwise.

    A wish without a level takes what is here. Without a revision the commit that the main branch was at comes
    first, then the others that files are here of.
    """
    cached = cached_repo(repo)
    for commit in _commits(cached, revision):
        found = _at_commit(cached, commit, revision, wish)
        if found is not None:
            return found
    return None


def cached_levels(cached: CachedRepo) -> Iterator[tuple[str, str]]:
    """Yield (commit, level) of the complete quantizations of a repository that are here."""
    for commit in _commits(cached, None):
        for found in gguf_sets(cached.files(commit)):
            if found.is_complete:
                yield commit, found.level


def named_shards(index: Path) -> set[str] | None:
    """Return the weight files that an index names; None when there is no index that can be read."""
    try:
        return {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def with_named_shards(choice: Choice, listing: RepoListing, index: Path) -> Choice:
    """Return the choice of a checkpoint with exactly the weight files that its index names."""
    shards = named_shards(index)
    if choice.kind is not RepoKind.CHECKPOINT or shards is None:
        return choice
    return replace(choice, files=tuple(checkpoint_files(listing.files, shards)))


def _commits(cached: CachedRepo, revision: str | None) -> list[str]:
    commit = cached.commit(revision)
    first = [commit] if commit else []
    others = cached.commits() if revision is None else []
    return [*first, *(other for other in others if other != commit)]


def _at_commit(cached: CachedRepo, commit: str, revision: str | None, wish: Wish) -> CachedChoice | None:
    files = cached.tree(commit) or cached.files(commit)
    listing = RepoListing(cached.repo, revision, commit, tuple(files))
    held = [file for file in files if cached.holds(file, commit)]
    has_other_kind = wish.level is None and wish.file is None and not wish.checkpoint and gguf_sets(files)
    if has_other_kind and not gguf_sets(held):
        return None
    with suppress(LocalLLMError):
        names_level = wish.level is not None or wish.file is not None
        choice = choose(cached.repo, files if names_level else held, wish)
        choice = _whole(choice, cached, listing)
        if all(cached.holds(file, commit) for file in choice.files):
            return CachedChoice(listing, choice, _path(cached, commit, choice))
    return None


def _whole(choice: Choice, cached: CachedRepo, listing: RepoListing) -> Choice:
    """Return a choice made among the files that are here with those that are not: what a checkpoint needs."""
    if choice.kind is not RepoKind.CHECKPOINT:
        return choice
    index = cached.snapshot(listing.commit) / WEIGHTS_INDEX
    shards = named_shards(index)
    files = list(checkpoint_files(listing.files, shards))
    names = {file.path for file in files}
    absent = [RepoFile(name, -1, "") for name in sorted((shards or set()) - names)]
    return replace(choice, files=(*files, *absent))


def _path(cached: CachedRepo, commit: str, choice: Choice) -> Path:
    return cached.place(choice.first, commit) if choice.kind is RepoKind.GGUF else cached.snapshot(commit)
