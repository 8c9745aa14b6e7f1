"""What the hub says of a repository, in the shapes of its JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from tests.hub.repos import Commit, Entry, Repo

DATE = "2026-11-02T10:00:00.000Z"
SEARCH_KEYS = (
    "_id",
    "id",
    "modelId",
    "private",
    "gated",
    "likes",
    "downloads",
    "tags",
    "createdAt",
    "lastModified",
    "author",
)


def model_info(repo: Repo, commit: Commit, *, with_blobs: bool) -> dict[str, Any]:
    """State what the repository is and which files it has; `with_blobs`: also their sizes and hashes."""
    author = repo.name.partition("/")[0] if "/" in repo.name else None
    return {
        "_id": hashlib.md5(repo.name.encode()).hexdigest()[:24],
        "id": repo.name,
        "modelId": repo.name,
        "author": author,
        "sha": commit.id,
        "lastModified": DATE,
        "createdAt": DATE,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": repo.disabled,
        "downloads": 12,
        "likes": 3,
        "tags": [],
        "siblings": [_sibling(entry, with_blobs) for entry in repo.entries(commit).values()],
        **repo.info,
    }


def _sibling(entry: Entry, with_blobs: bool) -> dict[str, Any]:
    if not with_blobs:
        return {"rfilename": entry.path}
    sibling: dict[str, Any] = {"rfilename": entry.path, "size": entry.size, "blobId": entry.git_oid}
    if entry.is_lfs:
        sibling["lfs"] = {"sha256": entry.etag, "size": entry.size, "pointerSize": len(entry.blob.pointer)}
    return sibling


def tree(entries: Sequence[Entry], folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """List what lies in a folder, each folder before the first of its files."""
    prefix = f"{folder}/" if folder else ""
    listing: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if not entry.path.startswith(prefix):
            continue
        inner = entry.path[len(prefix) :]
        steps = [] if _is_hostile(inner) else inner.split("/")[:-1]
        parents = ["/".join(steps[: depth + 1]) for depth in range(len(steps))]
        for parent in parents if recursive else parents[:1]:
            path = prefix + parent
            oid = hashlib.sha1(path.encode()).hexdigest()
            listing.setdefault(path, {"type": "directory", "oid": oid, "size": 0, "path": path})
        if recursive or not parents:
            listing[entry.path] = _file(entry)
    return list(listing.values())


def _is_hostile(path: str) -> bool:
    return not {"", ".", ".."}.isdisjoint(path.split("/"))


def _file(entry: Entry) -> dict[str, Any]:
    listed: dict[str, Any] = {"type": "file", "oid": entry.git_oid, "size": entry.size, "path": entry.path}
    if entry.is_lfs:
        listed["lfs"] = {"oid": entry.etag, "size": entry.size, "pointerSize": len(entry.blob.pointer)}
    return listed
