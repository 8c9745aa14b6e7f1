"""Blobs that are links into the common store of the cache, which huggingface_hub keeps for files from Xet.

    blobs/<2 hex>/<xet hash>           the contents, once for all repositories
    models--org--repo/blobs/<etag>     a link to it

What nothing points to any more is freed by huggingface_hub's own rules: rather leaked than lost.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path


def store_target(blob: Path, cache: Path) -> Path | None:
    """Return the contents in the common store that a blob links to; None for one that holds its own."""
    if not blob.is_symlink():
        return None
    target = Path(os.path.abspath(blob.parent / blob.readlink()))  # noqa: PTH100 (links are not followed)
    store = Path(os.path.abspath(cache)) / "blobs"  # noqa: PTH100
    return target if target.parent.parent == store else None


def remove_shared(blobs: Collection[Path], cache: Path) -> None:
    """Remove blobs that are links into the common store, and what nothing points to then."""
    from huggingface_hub import DeleteCacheStrategy

    DeleteCacheStrategy(
        expected_freed_size=0,
        blobs=frozenset(blobs),
        refs=frozenset(),
        repos=frozenset(),
        snapshots=frozenset(),
        cache_dir=cache,
    ).execute()
