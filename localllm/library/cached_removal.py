"""Plans what goes when models of the Hugging Face cache are removed.

A level goes from all snapshots, a revision's only from its own. Its blobs go when no other file of the
repository points to them; contents in the common store of the cache when no other repository does. When
nothing of a repository would remain, all of it goes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from localllm.errors import NotFoundError, UsageError
from localllm.hub.cache import CachedRepo
from localllm.hub.partial import DATA_SUFFIX, STATE_SUFFIX, partials
from localllm.hub.selection import GGUFSet, gguf_sets, level_of
from localllm.hub.shared_blobs import store_target
from localllm.library.links import Link, all_links
from localllm.library.removal import Removal, size_below, size_of
from localllm.refs import ModelRef
from localllm.units import format_bytes


def plan_cached_removal(repo: CachedRepo, refs: Sequence[ModelRef]) -> Removal:
    """Return what goes when all that `refs`, which are of this repository, stand for is removed.

    Raise NotFoundError for what is not here, UsageError for a level of which there are several models.
    """
    if not repo.folder.is_dir() and not repo.folder.is_symlink():
        raise NotFoundError(
            f"`{repo.repo}` is not in the cache", hint="`localllm list` shows what is on this machine"
        )
    name = ", ".join(dict.fromkeys(map(str, refs)))
    if repo.folder.is_symlink():
        return _unlinked(repo, name, refs)
    links = all_links(repo)
    going, parts = _going(repo, refs, links), _parts(repo, refs)
    staying = [link for link in links if link.path not in {each.path for each in going}]
    for ref in refs:
        if (ref.level or ref.file) and not _going(repo, [ref], links) and not _parts(repo, [ref]):
            raise _nothing(repo, ref, links)
    if not staying and not _other_parts(repo, parts):
        return _whole(repo, name, links)
    return _some(repo, name, refs, going, staying, parts)


def _unlinked(repo: CachedRepo, name: str, refs: Sequence[ModelRef]) -> Removal:
    """Plan to remove a link that stands for a repository's folder, not what it points to."""
    place = repo.folder.readlink()
    if any(ref.level or ref.file or ref.revision for ref in refs):
        raise UsageError(
            f"{repo.folder} is a link to {place}: what lies there is not removed",
            hint=f"`localllm rm {repo.repo}` removes the link",
        )
    return Removal(name, 0, folders=(repo.folder,), note=f"a link; what lies in {place} stays")


def _whole(repo: CachedRepo, name: str, links: Sequence[Link]) -> Removal:
    """Plan to remove a repository's folder with all that belongs to it."""
    blobs = _files_in(repo.folder / "blobs")
    stored, freed = _in_common_store(repo, blobs)
    pointing = [link.path for link in links if link.blob in stored]
    lock_folder = repo.lock("").parent
    return Removal(
        name,
        size_below(repo.folder) + sum(size_of(path) for path in freed),
        links=tuple(pointing),
        blobs=tuple(stored),
        folders=(repo.folder,),
        used=_models(repo, links),
        locks=tuple(_files_in(lock_folder)),
        lock_folder=lock_folder,
        shared=tuple(freed),
    )


def _some(
    repo: CachedRepo,
    name: str,
    refs: Sequence[ModelRef],
    going: Sequence[Link],
    staying: Sequence[Link],
    parts: Sequence[Path],
) -> Removal:
    """Plan to remove some files of a repository."""
    kept = {_etag(link) for link in staying}
    etags = {etag for link in going if (etag := _etag(link)) and etag not in kept}
    blobs = [blob for etag in sorted(etags) if os.path.lexists(blob := repo.blob(etag))]
    _, freed = _in_common_store(repo, blobs)
    commits = _whole_commits(repo, refs)
    listings = [path for commit in commits for path in _records_of(repo, commit)]
    part_etags = {path.name.partition(".")[0] for path in parts}
    links = [*listings, *(link.path for link in going)]
    sizes = [size_of(path) for path in (*links, *blobs, *freed, *parts)]
    return Removal(
        name,
        sum(sizes),
        links=tuple(links),
        blobs=(*blobs, *parts),
        folders=tuple(repo.snapshot(commit) for commit in commits),
        if_empty=tuple(_folders(repo, going)),
        used=_models(repo, going),
        locks=tuple(repo.lock(etag) for etag in sorted(etags | part_etags)),
        shared=tuple(freed),
        note=_remaining(repo, staying),
    )


def _going(repo: CachedRepo, refs: Sequence[ModelRef], links: Sequence[Link]) -> list[Link]:
    """Return the files that references stand for, each once."""
    found = {link.path: link for ref in refs for link in _meant(repo, ref, links)}
    return list(found.values())


def _meant(repo: CachedRepo, ref: ModelRef, links: Sequence[Link]) -> Iterator[Link]:
    commits = repo.commits() if ref.revision is None else [_commit(repo, ref)]
    for commit in commits:
        here = [link for link in links if link.commit == commit]
        if ref.level is None and ref.file is None:
            yield from here
            continue
        wanted = {file.path for found in _sets(repo, ref, here) for file in found.files}
        if ref.file is not None:
            wanted.add(ref.file)
        yield from (link for link in here if link.file.path in wanted)


def _sets(repo: CachedRepo, ref: ModelRef, links: Sequence[Link]) -> list[GGUFSet]:
    """Return the models of one commit that a reference with a level or a file stands for: one at most."""
    sets = gguf_sets(link.file for link in links)
    if ref.file is not None:
        return [found for found in sets if any(file.path == ref.file for file in found.files)]
    wanted = _level(ref)
    matching = [found for found in sets if found.level == wanted]
    matching = matching or [found for found in sets if _bare(found.level) == _bare(wanted)]
    if len(matching) > 1:
        names = ", ".join(found.first.path for found in matching)
        raise UsageError(
            f"{repo.repo} has {len(matching)} models at {ref.level}: {names}",
            hint=f"name one of them: `{repo.repo}/{matching[0].first.path}`",
        )
    return matching


def _level(ref: ModelRef) -> str:
    return level_of(f"model-{ref.level}.gguf") or ref.level or ""


def _bare(level: str) -> str:
    return level.removeprefix("UD-")


def _commit(repo: CachedRepo, ref: ModelRef) -> str:
    commit = repo.commit(ref.revision)
    if commit is None or commit not in repo.commits():
        known = sorted({*repo.revisions(), *repo.commits()})
        raise NotFoundError(
            f"`{repo.repo}` is not in the cache at {ref.revision}", hint=f"it is there at {', '.join(known)}"
        )
    return commit


def _whole_commits(repo: CachedRepo, refs: Iterable[ModelRef]) -> list[str]:
    return [_commit(repo, ref) for ref in refs if ref.revision and not (ref.level or ref.file)]


def _records_of(repo: CachedRepo, commit: str) -> Iterator[Path]:
    """Yield the branches and tags at a commit, and the list of its files."""
    for name, at in repo.revisions().items():
        if at == commit:
            yield repo.folder / "refs" / name
    tree = repo.folder / "trees" / f"{commit}.json"
    if tree.is_file():
        yield tree


def _parts(repo: CachedRepo, refs: Sequence[ModelRef]) -> list[Path]:
    """Return the files of unfinished downloads that references stand for: bytes and states."""
    found: list[Path] = []
    for data, header in partials(repo.folder / "blobs").items():
        if any(_means(ref, header.path) for ref in refs):
            state = data.with_name(data.name.removesuffix(DATA_SUFFIX) + STATE_SUFFIX)
            found += [path for path in (data, state) if path.is_file()]
    return found


def _means(ref: ModelRef, path: str) -> bool:
    if ref.file is not None:
        return path == ref.file
    if ref.level is None:
        return ref.revision is None
    return path.lower().endswith(".gguf") and _bare(level_of(path)) == _bare(_level(ref))


def _other_parts(repo: CachedRepo, parts: Sequence[Path]) -> bool:
    """Tell whether downloads are unfinished besides `parts`."""
    return any(data not in parts for data in partials(repo.folder / "blobs"))


def _in_common_store(repo: CachedRepo, blobs: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return which blobs link into the common store, and the contents that no other blob links to."""
    cache = repo.folder.parent
    targets = {blob: target for blob in blobs if (target := store_target(blob, cache))}
    if not targets:
        return [], []
    others = (
        blob for folder in cache.iterdir() for blob in _files_in(folder / "blobs") if blob not in targets
    )
    kept = {store_target(blob, cache) for blob in others}
    return list(targets), sorted({target for target in targets.values() if target not in kept})


def _models(repo: CachedRepo, links: Iterable[Link]) -> tuple[Path, ...]:
    """Return what commands open of these files: GGUF files and whole snapshots."""
    files = [link.path for link in links if link.file.path.endswith(".gguf")]
    weights = {repo.snapshot(link.commit) for link in links if link.file.path.endswith(".safetensors")}
    return (*files, *sorted(weights))


def _folders(repo: CachedRepo, links: Iterable[Link]) -> list[Path]:
    """Return the folders inside snapshots that these files lie in, the innermost first."""
    found: set[Path] = set()
    for link in links:
        snapshot = repo.snapshot(link.commit)
        found |= {folder for folder in link.path.parents if snapshot in folder.parents}
    return sorted(found, key=lambda folder: -len(folder.parts))


def _remaining(repo: CachedRepo, staying: Sequence[Link]) -> str | None:
    """Say what remains of a repository when no model does."""
    if not staying or any(link.file.path.endswith((".gguf", ".safetensors")) for link in staying):
        return None
    size = format_bytes(sum(link.file.size_bytes for link in staying))
    return f"{len(staying)} small files of it stay ({size}); `localllm rm {repo.repo}` removes them, too"


def _nothing(repo: CachedRepo, ref: ModelRef, links: Sequence[Link]) -> NotFoundError:
    levels = sorted({found.level for found in gguf_sets(link.file for link in links) if found.level})
    hint = f"it is there at {', '.join(levels)}" if levels else f"`localllm rm {repo.repo}` removes all of it"
    return NotFoundError(f"`{ref}` is not in the cache", hint=hint)


def _etag(link: Link) -> str:
    return link.blob.name if link.blob is not None else link.file.etag


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_symlink() or path.is_file())
    except OSError:
        return []
