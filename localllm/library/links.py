"""The entries of a repository's snapshots: links to blobs, copies where there are no links, broken ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localllm.hub.cache import CachedRepo, RepoFile, is_etag, is_sha256


@dataclass(frozen=True)
class Link:
    """A file of a commit, as far as the disk tells.

    `blob` is what it points to, in the repository's `blobs` and perhaps gone; None for a copy, and for a link
    to anywhere else. A copy's file has the hash that the commit's tree names, "" when nobody knows it.
    """

    path: Path
    commit: str
    file: RepoFile
    blob: Path | None
    is_broken: bool = False


def all_links(repo: CachedRepo) -> list[Link]:
    """Return the entries of all snapshots."""
    return [link for commit in repo.commits() for link in links_of(repo, commit)]


def links_of(repo: CachedRepo, commit: str) -> Iterator[Link]:
    """Yield the entries of a snapshot by path."""
    snapshot = repo.snapshot(commit)
    listed: dict[str, RepoFile] | None = None
    for directory, _, names in os.walk(snapshot):  # links to directories are not followed
        for name in sorted(names):
            path = Path(directory, name)
            relative = path.relative_to(snapshot).as_posix()
            if path.is_symlink():
                yield _link(repo, commit, path, relative)
                continue
            if listed is None:
                listed = {file.path: file for file in repo.tree(commit) or ()}
            size = path.stat().st_size
            known = listed.get(relative) or RepoFile(relative, size, "")
            yield Link(path, commit, known, None)


def _link(repo: CachedRepo, commit: str, path: Path, relative: str) -> Link:
    target = Path(os.path.normpath(path.parent / path.readlink()))
    is_ours = target.parent == Path(os.path.normpath(repo.folder / "blobs")) and is_etag(target.name)
    etag = target.name if is_ours else ""
    try:
        size, is_broken = path.stat().st_size, False
    except OSError:
        size, is_broken = 0, True
    file = RepoFile(relative, size, etag, etag if is_sha256(etag) else None)
    return Link(path, commit, file, target if is_ours else None, is_broken)
