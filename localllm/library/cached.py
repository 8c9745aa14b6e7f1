"""The models in the Hugging Face cache, each with a reference that commands accept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from localllm.hub.cache import CachedRepo, RepoFile, cached_repos
from localllm.hub.cached import find_cached
from localllm.hub.selection import GGUFSet, Wish, gguf_sets
from localllm.library import weights
from localllm.library.found import Found, Kind
from localllm.refs import ModelRef, RefKind


def all_cached() -> Iterator[Found]:
    """Yield the models of all repositories in the cache, also those of which files are missing."""
    for repo in cached_repos():
        yield from cached_models(repo)


def cached_models(repo: CachedRepo, only: str | None = None) -> Iterator[Found]:
    """Yield the models of a repository: the main branch's first; of other commits what has other contents.

    What a reference without a revision means has none in its name. With a commit as `only` all of that
    commit are yielded, and no others.
    """
    naming = _Naming(repo, only)
    for commit in _in_order(repo) if only is None else [only]:
        files = repo.files(commit)
        yield from _checkpoint(naming, commit, files)
        yield from _quantizations(naming, commit, files)


@dataclass
class _Naming:
    """Gives out names, each once, and remembers which contents have one."""

    repo: CachedRepo
    only: str | None
    _names: set[str] = field(default_factory=set)
    _contents: set[tuple[object, ...]] = field(default_factory=set)
    _revisions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._revisions = {commit: name for name, commit in reversed(self.repo.revisions().items())}

    def is_new(self, files: Sequence[RepoFile]) -> bool:
        contents = tuple((file.path, file.blob_id or file.size_bytes) for file in files)
        if contents in self._contents:
            return False
        self._contents.add(contents)
        return True

    def name(self, commit: str, *, level: str | None = None, file: str | None = None) -> str:
        bare = [None] if self.only is None or commit == self.repo.commit() else []
        for revision in (*bare, self._revisions.get(commit, commit)):
            name = str(ModelRef(RefKind.HUB, self.repo.repo, level, revision, file))
            if name not in self._names:
                break
        return name

    def take(self, name: str) -> None:
        self._names.add(name)


def _in_order(repo: CachedRepo) -> list[str]:
    """Return the commits of which files are here, as references look through them."""
    main, commits = repo.commit(), repo.commits()
    return sorted(commits, key=lambda commit: commit != main)


def _quantizations(naming: _Naming, commit: str, files: list[RepoFile]) -> Iterator[Found]:
    repo, held = naming.repo, gguf_sets(files)
    if not held:
        return
    levels = Counter(found.level for found in gguf_sets(repo.tree(commit) or files))
    for found in held:
        if naming.is_new(found.files):
            alone = bool(found.level) and levels[found.level] <= 1
            name = naming.name(
                commit, level=found.level if alone else None, file=None if alone else found.first.path
            )
            if found.is_complete:
                naming.take(name)
            yield _found(name, found, repo, commit)


def _found(name: str, found: GGUFSet, repo: CachedRepo, commit: str) -> Found:
    paths = tuple(repo.place(file, commit) for file in found.files)
    return Found(name, Kind.MODEL, found.level or None, paths, found.is_complete, repo=repo, commit=commit)


def _checkpoint(naming: _Naming, commit: str, files: list[RepoFile]) -> Iterator[Found]:
    """Yield the checkpoint or adapter at the top of a snapshot; its settings alone are none."""
    repo = naming.repo
    top = [file for file in files if "/" not in file.path and not file.path.lower().endswith(".gguf")]
    names = {file.path for file in top}
    adapter = weights.is_adapter(names)
    if not (adapter or weights.CONFIG in names) or not weights.weight_files(names) or not naming.is_new(top):
        return
    is_complete = find_cached(repo.repo, commit, Wish(checkpoint=True)) is not None
    name = naming.name(commit)
    if is_complete:
        naming.take(name)
    yield Found(
        name,
        Kind.ADAPTER if adapter else Kind.CHECKPOINT,
        None,
        tuple(repo.place(file, commit) for file in top),
        is_complete,
        directory=repo.snapshot(commit),
        repo=repo,
        commit=commit,
    )
