"""What a reference means on this machine: names in the library, and repositories in the cache."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from localllm.errors import NotFoundError, UsageError
from localllm.hub.cache import cached_repo
from localllm.hub.selection import level_of
from localllm.library.cached import all_cached, cached_models
from localllm.library.found import Found, Kind
from localllm.library.stored import all_stored, models_called
from localllm.refs import ModelRef, RefKind
from localllm.store import PREFERRED_LEVEL, UNQUANTIZED_LEVELS, models_directory


def parse(text: str) -> ModelRef:
    """Parse a name in the library or a hub reference. Raise UsageError for a path and for a web address."""
    ref = ModelRef.parse(text)
    if ref.kind in (RefKind.LIBRARY, RefKind.HUB):
        return ref
    raise UsageError(
        f"`{text}` is no name in the library and no repository",
        hint="`localllm list` shows the names; what lies elsewhere is not localllm's",
    )


def find(text: str) -> list[Found]:
    """Return the models here that `text` stands for, also those of which files are missing; at least one.

    Raise UsageError for a path, NotFoundError with the nearest names or the levels that are here.
    """
    ref = parse(text)
    models = list(models_called(ref.target) if ref.kind is RefKind.LIBRARY else _cached(ref))
    if not models:
        raise _unknown(ref)
    found = [model for model in models if _is_meant(ref, model)]
    if not found:
        levels = ", ".join(dict.fromkeys(model.level for model in models if model.level))
        raise NotFoundError(
            f"`{ref}` is not on this machine",
            hint=f"it is here at {levels}" if levels else f"`{models[0].name}` is here",
        )
    return found


def find_one(text: str) -> tuple[Found, bool]:
    """Return the one model that `text` stands for, and whether it was chosen among several.

    As for other commands that is Q4_K_M, then what is smallest of the quantized. Raise what `find` raises.
    """
    found = [model for model in find(text) if model.is_complete] or find(text)
    files = [model for model in found if model.kind is Kind.MODEL]
    if not files or len(found) == 1:
        return found[0], False
    if len(files) == 1:
        return files[0], False
    preferred = [model for model in files if model.level == PREFERRED_LEVEL]
    quantized = [model for model in files if model.level not in UNQUANTIZED_LEVELS]
    return min(preferred or quantized or files, key=_size), True


def all_models() -> Iterable[Found]:
    """Yield everything on this machine: the library, then the cache."""
    yield from all_stored()
    yield from all_cached()


def _cached(ref: ModelRef) -> Iterable[Found]:
    repo = cached_repo(ref.target)
    if not repo.folder.is_dir():
        return
    commit = repo.commit(ref.revision) if ref.revision else None
    if ref.revision and commit not in repo.commits():
        known = ", ".join(sorted({*repo.revisions(), *repo.commits()}))
        raise NotFoundError(
            f"`{ref.target}` is not in the cache at {ref.revision}", hint=f"it is there at {known}"
        )
    yield from cached_models(repo, commit)


def _is_meant(ref: ModelRef, model: Found) -> bool:
    if ref.file is not None:
        return any(path.as_posix().endswith(f"/{ref.file}") for path in model.files)
    if ref.level is None:
        return True
    if ref.kind is RefKind.LIBRARY:
        return model.level == ref.level
    wanted = level_of(f"model-{ref.level}.gguf") or ref.level
    return bool(model.level) and _bare(model.level or "") == _bare(wanted)


def _bare(level: str) -> str:
    return level.removeprefix("UD-")


def _size(model: Found) -> int:
    return sum(path.stat().st_size for path in model.files)


def _unknown(ref: ModelRef) -> NotFoundError:
    if ref.kind is RefKind.HUB:
        return NotFoundError(
            f"`{ref.target}` is not on this machine", hint=f"`localllm pull {ref}` downloads it"
        )
    root = models_directory()
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    near = difflib.get_close_matches(ref.target, names, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "`localllm list` shows what is on this machine"
    return NotFoundError(f"`{ref.target}` is not in the library", hint=hint)
