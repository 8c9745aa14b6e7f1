"""`list_models`, `show`, `verify`, `plan_removal`, `remove` and `clean`: what is on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING

from localllm.errors import LocalLLMError, NotFoundError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.hub.cache import cached_repo, cached_repos
from localllm.library import entries, finding
from localllm.library.entries import Listing
from localllm.library.found import Found
from localllm.refs import ModelRef, RefKind

if TYPE_CHECKING:  # listing needs none of it
    from localllm.inspection import ModelDescription
    from localllm.library.leftovers import CleaningResult, Leftovers
    from localllm.library.removal import RemovalPlan, RemovalResult
    from localllm.library.showing import Shown
    from localllm.library.verification import VerificationResult

Model = str | PathLike[str]


@dataclass(frozen=True)
class ModelCard:
    """A model here, where it comes from, and what it says of itself: None when it is damaged."""

    model: Shown
    description: ModelDescription | None


def list_models(pattern: str | None = None) -> Listing:
    """Return every model on this machine that a command would accept, those whose name matches.

    Names with `*`, `?` or `[` are patterns for the whole name, any other text for a part of it.
    """
    return entries.list_entries(pattern)


def show(model: Model, *, emit: Emit = ignore) -> ModelCard:
    """Return where a model of the library or the cache is, where it comes from, and what is in it.

    Raise UsageError for a path, NotFoundError for what is not here.
    """
    from localllm.library import showing

    found, is_chosen = finding.find_one(fspath(model))
    if is_chosen:
        emit(Notice(f"showing {found.name}; write another level behind the colon"))
    shown = showing.show(found)
    if shown is None:
        raise NotFoundError(
            f"{found.path} is no model", hint=f"`localllm inspect {found.path}` tells what it is"
        )
    return ModelCard(shown, _description(found, emit))


def verify(models: Sequence[Model] = (), *, emit: Emit = ignore) -> VerificationResult:
    """Read models again, or everything on this machine, and compare them with what they should be.

    Of a repository without a level all files are checked. Raise UsageError for a path, NotFoundError.
    """
    from localllm.library import verification
    from localllm.library.stored import all_stored

    if not models:
        return verification.verify(all_stored(), cached_repos(), emit=emit)
    refs = [finding.parse(fspath(model)) for model in models]
    repos = [ref for ref in refs if ref.kind is RefKind.HUB and str(ref) == str(_whole(ref))]
    found = [each for ref in refs if ref not in repos for each in finding.find(str(ref))]
    for ref in repos:
        if not cached_repo(ref.target).folder.is_dir():
            finding.find(str(ref))  # says what is wrong
    return verification.verify(found, [cached_repo(ref.target) for ref in repos], emit=emit)


def plan_removal(models: Sequence[Model], *, checkpoint: bool = False) -> RemovalPlan:
    """Tell what `remove` would remove of the library and the cache, and what that would free.

    A name without level stands for all of its files, but for a checkpoint or an adapter in the library only
    with `checkpoint`; a repository without level for all of it. Raise UsageError, NotFoundError, and
    StorageError for what another process uses or downloads.
    """
    from localllm.library.cached_removal import plan_cached_removal
    from localllm.library.removal import RemovalPlan, require_unused
    from localllm.library.stored_removal import plan_stored_removal

    refs = [finding.parse(fspath(model)) for model in models]
    if checkpoint and any(ref.level for ref in refs):
        raise UsageError("a checkpoint has no level", hint="leave out `--checkpoint`, or the level")
    plan = RemovalPlan(
        tuple(
            plan_cached_removal(cached_repo(target), together)
            if kind is RefKind.HUB
            else plan_stored_removal(target, together, checkpoint=checkpoint)
            for (kind, target), together in _by_target(refs).items()
        )
    )
    require_unused(plan)
    return plan


def remove(plan: RemovalPlan, *, emit: Emit = ignore) -> RemovalResult:
    """Remove what is planned. Raise StorageError; what comes after it in the plan is then still there."""
    from localllm.library import removal

    return removal.remove(plan, emit=emit)


def find_leftovers(*, include_resumable: bool = False) -> Leftovers:
    """Find what processes that were killed left behind, in the library and the cache.

    Downloads that `pull` can go on with are among what is kept for a week, unless `include_resumable` is set.
    """
    from localllm.library import leftovers

    return leftovers.find_leftovers(include_resumable=include_resumable)


def clean(found: Leftovers, *, emit: Emit = ignore) -> CleaningResult:
    """Remove what was left behind. Raise StorageError."""
    from localllm.library import leftovers

    return leftovers.clean(found, emit=emit)


def _by_target(refs: Sequence[ModelRef]) -> dict[tuple[RefKind, str], list[ModelRef]]:
    together: dict[tuple[RefKind, str], list[ModelRef]] = {}
    for ref in refs:
        together.setdefault((ref.kind, ref.target), []).append(ref)
    return together


def _whole(ref: ModelRef) -> ModelRef:
    return ModelRef(ref.kind, ref.target)


def _description(found: Found, emit: Emit) -> ModelDescription | None:
    from localllm.verbs.inspect import inspect

    try:
        return inspect(found.path, emit=emit)
    except LocalLLMError as error:
        emit(Notice(error.message, hint=error.hint, topic="damaged"))
        return None
