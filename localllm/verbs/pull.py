"""`pull`: a model from the hub, or from a web address, on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import fspath
from pathlib import Path

from localllm.errors import LocalLLMError, UnsupportedModelError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.hub.cache import RepoFile, cached_repo
from localllm.hub.cached import CachedChoice, find_cached
from localllm.hub.listing import RepoListing, list_repo
from localllm.hub.selection import Choice, RepoKind, Wish, choose
from localllm.hub.snapshot import SnapshotFile, fetch, missing_files, note
from localllm.refs import Model, ModelRef, RefKind
from localllm.store import is_here


@dataclass(frozen=True)
class PlannedDownload:
    """A file that `pull` would have here; `is_here` when it already is."""

    path: str
    size_bytes: int
    is_here: bool


@dataclass(frozen=True)
class PullPlan:
    """What `pull` would do: all files, and how many bytes would come."""

    reference: str
    kind: RepoKind
    level: str | None
    revision: str | None
    files: tuple[PlannedDownload, ...]
    size_bytes: int
    download_bytes: int
    others: tuple[str, ...]


@dataclass(frozen=True)
class PullResult:
    """A model that is here: `reference` is what to call it by, `path` its first GGUF file or its directory.

    `revision` is the commit; `others` are the levels of the repository that were not taken.
    """

    reference: str
    kind: RepoKind
    level: str | None
    revision: str | None
    path: Path
    files: tuple[SnapshotFile, ...]
    size_bytes: int
    downloaded_bytes: int
    others: tuple[str, ...] = ()


def pull(
    model: Model,
    *,
    projector: bool = False,
    checkpoint: bool = False,
    refresh: bool = False,
    check: bool = True,
    emit: Emit = ignore,
) -> PullResult:
    """Have a model of the hub, or the GGUF file at a web address, on this machine, complete and verified.

    When all of it is here nothing is asked from the network, unless `refresh` is set. `projector` adds the
    vision projector, `checkpoint` takes the safetensors weights of a repository that has GGUF files too. Of a
    checkpoint the small files come first, and one that could not be converted is refused before its weights
    are downloaded, unless `check` is off.

    Raise UsageError, NotFoundError with the nearest names, GatedModelError, OfflineError, ChecksumError,
    HubError, StorageError; UnsupportedModelError or CheckpointError for what could not be converted.
    """
    ref = _hub_reference(model)
    if ref.kind is RefKind.URL:
        from localllm.verbs.pull_url import pull_url

        return pull_url(ref.target, refresh=refresh, emit=emit)
    wish = _wish(ref, projector, checkpoint)
    found = None if refresh else find_cached(ref.target, ref.revision, wish)
    if found is not None:
        return _here_already(ref, found, emit)
    return _pull(ref, wish, check, emit)


def _pull(ref: ModelRef, wish: Wish, check: bool, emit: Emit) -> PullResult:
    listing, choice = _asked(ref, wish, emit)
    if choice.kind is RepoKind.CHECKPOINT:
        choice = _examined(listing, choice, check, emit)
    files = fetch(listing, choice.files, emit=emit)
    note(listing)
    return _result(ref, listing, choice, files)


def plan_pull(
    model: Model, *, projector: bool = False, checkpoint: bool = False, emit: Emit = ignore
) -> PullPlan:
    """Ask the hub what `pull` would download; nothing is. Raise what `pull` raises by then."""
    ref = _hub_reference(model)
    if ref.kind is RefKind.URL:
        from localllm.verbs.pull_url import plan_url

        return plan_url(ref.target)
    listing, choice = _asked(ref, _wish(ref, projector, checkpoint), emit)
    missing = missing_files(listing, choice.files)
    files = tuple(PlannedDownload(file.path, file.size_bytes, file not in missing) for file in choice.files)
    return PullPlan(
        _reference(ref, choice),
        choice.kind,
        choice.level,
        listing.commit,
        files,
        choice.size_bytes,
        sum(file.size_bytes for file in missing),
        choice.others,
    )


def have(*models: Model | None, weights: bool = False, emit: Emit = ignore) -> None:
    """Pull those of `models` that are of the hub and not on this machine, so that a verb can go on with them.

    `weights` prefers a checkpoint where a repository also has GGUF files. Raise what `pull` raises.
    """
    for model in models:
        ref = None if model is None else ModelRef.parse(fspath(model))
        if ref is not None and ref.kind is RefKind.HUB and not is_here(str(model)):
            emit(Notice(f"{ref} is not on this machine; downloading it"))
            _pull(ref, Wish(ref.level, ref.file, prefers_checkpoint=weights), True, emit)


def _hub_reference(model: Model) -> ModelRef:
    ref = ModelRef.parse(fspath(model))
    if ref.kind in (RefKind.HUB, RefKind.URL):
        return ref
    raise UsageError(
        f"`{ref}` does not name a repository of the hub",
        hint="write it like `org/repo` or `org/repo:Q4_K_M`; `localllm list` shows what is here",
    )


def _wish(ref: ModelRef, projector: bool, checkpoint: bool) -> Wish:
    return Wish(ref.level, ref.file, projector, checkpoint)


def _asked(ref: ModelRef, wish: Wish, emit: Emit) -> tuple[RepoListing, Choice]:
    """Ask the hub what there is, and choose."""
    listing = list_repo(ref.target, ref.revision)
    if listing.ignored:
        emit(Notice(f"{ref.target}: {listing.ignored} file names make no sense or lead out of it; ignored"))
    choice = choose(ref.target, listing.files, wish)
    say_what_was_chosen(ref, choice, emit)
    return listing, choice


def say_what_was_chosen(ref: ModelRef, choice: Choice, emit: Emit) -> None:
    """Tell which of several levels was taken and why, or that there is none."""
    if choice.kind is not RepoKind.GGUF:
        if ref.level is not None:
            emit(
                Notice(
                    f"{ref.target} has no GGUF files; its checkpoint can be quantized",
                    hint=f"`localllm quantize {ref.target} -q {ref.level}`",
                )
            )
        return
    if choice.reason:
        others = f"; it also has {', '.join(choice.others)}" if choice.others else ""
        emit(Notice(f"taking {choice.level or choice.first.path}, {choice.reason}{others}"))


def _here_already(ref: ModelRef, found: CachedChoice, emit: Emit) -> PullResult:
    choice, cached = found.choice, cached_repo(ref.target)
    if choice.reason and choice.level:
        emit(Notice(f"taking {choice.level}, which is here", hint="`--refresh` asks the hub"))
    files = [
        SnapshotFile(file.path, cached.place(file, found.listing.commit), file.size_bytes, file.sha256, 0, 0)
        for file in choice.files
    ]
    return _result(ref, found.listing, choice, files)


def _examined(listing: RepoListing, choice: Choice, check: bool, emit: Emit) -> Choice:
    """Download what is small of a checkpoint; refuse one that could not be converted."""
    from localllm.outline import fetch_small_files, outline

    choice = fetch_small_files(listing, choice, emit=emit)
    missing = missing_files(listing, choice.files)
    if not check or not missing:
        return choice
    with outline(listing, choice) as directory:
        _refuse_what_does_not_convert(directory, listing.repo, missing)
    return choice


def _refuse_what_does_not_convert(directory: Path, repo: str, missing: Sequence[RepoFile]) -> None:
    from localllm.assembly import Recipe
    from localllm.pipeline import open_source
    from localllm.units import format_bytes

    try:
        open_source(Recipe(directory)).complete()
    except LocalLLMError as error:
        size = format_bytes(sum(file.size_bytes for file in missing))
        reason = error.message.replace(str(directory), repo)
        raise UnsupportedModelError(
            f"{reason}; its weights ({size}) were not downloaded",
            hint="`--no-check` downloads them all the same",
        ) from None


def _result(ref: ModelRef, listing: RepoListing, choice: Choice, files: Sequence[SnapshotFile]) -> PullResult:
    cached = cached_repo(ref.target)
    is_file = choice.kind is RepoKind.GGUF
    return PullResult(
        _reference(ref, choice),
        choice.kind,
        choice.level,
        listing.commit,
        cached.place(choice.first, listing.commit) if is_file else cached.snapshot(listing.commit),
        tuple(files),
        choice.size_bytes,
        sum(file.downloaded_bytes for file in files),
        choice.others,
    )


def _reference(ref: ModelRef, choice: Choice) -> str:
    level = choice.level if choice.kind is RepoKind.GGUF and ref.file is None else None
    return str(ModelRef(RefKind.HUB, ref.target, level, ref.revision, ref.file))
