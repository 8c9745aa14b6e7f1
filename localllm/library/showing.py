"""One model with all that is known of where it is and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localllm.library import provenance
from localllm.library.entries import Entry, described
from localllm.library.found import Found
from localllm.library.links import links_of
from localllm.library.provenance import Made, Origin


@dataclass(frozen=True)
class ShownFile:
    """A file of a model. `sha256` is what the hub states or the record says; nothing is read for it."""

    path: Path
    size_bytes: int
    sha256: str | None


@dataclass(frozen=True)
class Shown:
    """A model here. `origin` is the commit it was pulled from, or what it was made from was.

    `made` tells how localllm made it, with `recorded_at` and the versions that did; all of them are None when
    nobody wrote it down.
    """

    entry: Entry
    files: tuple[ShownFile, ...]
    origin: Origin | None
    made: Made | None
    recorded_at: str | None
    localllm: str | None
    llama_cpp: str | None


def show(found: Found) -> Shown | None:
    """Return what is known of a model; None for a GGUF file that is none."""
    entry = described(found)
    if entry is None:
        return None
    known = provenance.read_fitting(found.path) if found.repo is None else None
    made = known.made if known else None
    hashes = _hashes(found)
    if known is not None:
        hashes = {path: known.sha256_of(path) for path in found.files}
    return Shown(
        entry,
        tuple(ShownFile(path, path.stat().st_size, hashes.get(path)) for path in found.files),
        provenance.origin_of(found.path) if found.repo else made.origin if made else None,
        made,
        known.recorded_at if known and made else None,
        known.localllm if known and made else None,
        known.llama_cpp if known and made else None,
    )


def _hashes(found: Found) -> dict[Path, str | None]:
    if found.repo is None or found.commit is None:
        return {}
    return {link.path: link.file.sha256 for link in links_of(found.repo, found.commit)}
