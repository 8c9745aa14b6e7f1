"""`push` and `plan_push`: a model's files and its card in a repository of the hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import fspath
from pathlib import Path

from localllm.errors import NotFoundError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.gguf_file.split_names import model_files, starts_model
from localllm.hub.upload import (
    Destination,
    LocalFile,
    address,
    destination,
    is_there,
    read_text,
    require_token,
    upload,
)
from localllm.publication import temporary_directory
from localllm.refs import Model, ModelRef, RefKind
from localllm.store import (
    IMATRIX,
    UNQUANTIZED_LEVELS,
    level_in_name,
    model_name,
    stored_models,
)

_README = "README.md"


@dataclass(frozen=True)
class PlannedUpload:
    """A file that `push` would have in the repository; `is_there` when it already is."""

    name: str
    size_bytes: int
    is_there: bool


@dataclass(frozen=True)
class PushPlan:
    """What `push` would do. `is_new` tells that the repository would be made, `private` so."""

    repo: str
    revision: str
    is_new: bool
    private: bool
    files: tuple[PlannedUpload, ...]

    @property
    def send_bytes(self) -> int:
        """Return the size of what would be sent."""
        return sum(file.size_bytes for file in self.files if not file.is_there)


@dataclass(frozen=True)
class PushResult:
    """What is in the repository now; `commit` is None when it was there before."""

    repo: str
    revision: str
    url: str
    commit: str | None
    files: tuple[PlannedUpload, ...]
    sent_bytes: int


def plan_push(
    model: Model,
    repo: str,
    *,
    levels: Sequence[str] = (),
    revision: str | None = None,
    private: bool = False,
    emit: Emit = ignore,
) -> PushPlan:
    """Tell what `push` would send. Raise what it raises, but for a missing token."""
    with _prepared(model, repo, levels, revision, private, emit) as (plan, _, _):
        return plan


def push(
    model: Model,
    repo: str,
    *,
    levels: Sequence[str] = (),
    revision: str | None = None,
    private: bool = False,
    emit: Emit = ignore,
) -> PushResult:
    """Send the levels of a model, its importance matrix and its model card to a repository of the hub.

    By default all quantized levels of a name in the library, else the file or the files of a folder. The card
    is the repository's own, or the one beside the files, with the last comparison in it. What is there with
    the same content is not sent again, and an interrupted upload goes on with the file it was at. Raise
    NotFoundError, UsageError, HubError, OfflineError, StorageError.
    """
    require_token()
    with _prepared(model, repo, levels, revision, private, emit) as (plan, target, local):
        missing = [file for file, planned in zip(local, plan.files, strict=True) if not planned.is_there]
        if not missing:
            return PushResult(plan.repo, plan.revision, address(target.repo), None, plan.files, 0)
        done = upload(
            missing,
            target,
            private=private,
            message=f"Add {', '.join(file.name for file in missing)}"[:200],
            emit=emit,
        )
    return PushResult(plan.repo, plan.revision, done.url, done.commit, plan.files, plan.send_bytes)


@contextmanager
def _prepared(
    model: Model, repo: str, levels: Sequence[str], revision: str | None, private: bool, emit: Emit
) -> Iterator[tuple[PushPlan, Destination, list[LocalFile]]]:
    """Yield what would be sent, where to, and its files; the card is there as long as the block lasts."""
    name, branch = _repository(repo, revision)
    paths = _files(model, [level.upper() for level in levels], emit)
    target = destination(name, branch)
    if private and target.has_repo:
        emit(Notice(f"{name} is there already: `--private` changes nothing", topic="private"))
    with temporary_directory() as folder:
        card = _card(model, paths[0].parent, folder, target, emit)
        local = [LocalFile(path, path.name, path.stat().st_size) for path in (*paths, *card)]
        files = tuple(
            PlannedUpload(file.name, file.size_bytes, is_there(file, target, emit=emit)) for file in local
        )
        yield PushPlan(name, target.revision, not target.has_repo, private, files), target, local


def _repository(text: str, revision: str | None) -> tuple[str, str | None]:
    ref = ModelRef.parse(text)
    if ref.kind is not RefKind.HUB or ref.level or ref.file or (ref.revision and revision):
        raise UsageError(f"`{text}` does not name a repository of the hub", hint="write it like `org/repo`")
    return ref.target, revision or ref.revision


# what is sent ---------------------------------------------------------------------------------


def _files(model: Model, levels: Sequence[str], emit: Emit) -> list[Path]:
    """Return the files of the levels, all parts of split ones, and the importance matrix beside them."""
    ref = ModelRef.parse(fspath(model))
    firsts = _firsts(model, ref)
    wanted = [*levels, *([ref.level] if ref.level else [])]
    by_level = {level_in_name(path) or path.stem: path for path in firsts}
    if not wanted and len(firsts) > 1:
        wanted = [level for level in by_level if level not in UNQUANTIZED_LEVELS] or list(by_level)
        left = [level for level in by_level if level not in wanted]
        if left:
            emit(Notice(f"{', '.join(left)} stays here; `--levels` sends what it names", topic="left-out"))
    missing = [level for level in wanted if level not in by_level]
    if missing:
        raise UsageError(
            f"`{fspath(model)}` is not here at {', '.join(missing)}",
            hint=f"it is here at {', '.join(by_level)}; `localllm quantize` makes others",
        )
    chosen = [by_level[level] for level in dict.fromkeys(wanted)] or firsts
    matrix = chosen[0].with_name(f"{model_name(chosen[0])}-{IMATRIX}.gguf")
    return [
        *(path for first in chosen for path in model_files(first)),
        *([matrix] if matrix.is_file() else []),
    ]


def _firsts(model: Model, ref: ModelRef) -> list[Path]:
    """Return the first files of what a model is on this machine."""
    stored = [each.path for each in stored_models() if each.name == ref.target]
    if ref.kind is RefKind.LIBRARY and stored:
        return stored
    path = Path(ref.target).expanduser()
    if path.is_file():
        return [path]
    inside = sorted(each for each in path.glob("*.gguf") if _is_first(each)) if path.is_dir() else []
    if inside:
        return inside
    raise NotFoundError(
        f"there are no GGUF files of `{fspath(model)}` here",
        hint=f"make some with `localllm quantize {ref.target}`, or name a file or a folder",
    )


def _is_first(path: Path) -> bool:
    return starts_model(path) and not path.stem.endswith(f"-{IMATRIX}")


def _card(model: Model, beside: Path, folder: Path, target: Destination, emit: Emit) -> list[Path]:
    """Make the card that is to be in the repository, in `folder`, and return its files.

    It begins with the repository's own, whose words nobody here may have, else with the one beside the files.
    """
    from localllm.verbs.card import card  # with what draws plots

    own, readme = beside / _README, folder / _README
    there = read_text(target, _README)
    if there is not None:
        readme.write_text(there, encoding="utf-8", newline="")
    elif own.is_file():
        readme.write_bytes(own.read_bytes())
    try:
        made = card(model, output=folder, emit=emit)
    except NotFoundError as error:
        emit(Notice(f"the card has no measurements: {error.message}", hint=error.hint, topic="no-card"))
        return [readme] if there is None and readme.is_file() else []
    return [made.path, *([made.image] if made.image else [])]
