"""Plans what goes when models of the library are removed.

Files of a level go with their record. A checkpoint or an adapter goes only when that is asked for, with the
whole directory; what ships with localllm never does. What lies behind a link stays.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from localllm.errors import NotFoundError, StorageError, UsageError
from localllm.hub.partial import DATA_SUFFIX, STATE_SUFFIX
from localllm.library import provenance
from localllm.library.found import GGUFSet, gguf_sets
from localllm.library.removal import Removal, size_below, size_of
from localllm.library.stored import holds_checkpoint, model_directories
from localllm.library.weights import is_adapter
from localllm.refs import ModelRef
from localllm.store import level_in_name, models_directory, shipped_checkpoint

_LOCK_SUFFIX = ".gguf.lock"  # of downloads from web addresses
_PART = re.compile(r"\..+\.part-(?P<owner>\d+)")


def plan_stored_removal(name: str, refs: Sequence[ModelRef], *, checkpoint: bool = False) -> Removal:
    """Return what goes when all that `refs`, which are of this name, stand for is removed.

    Raise NotFoundError for what is not there, UsageError for a checkpoint that was not asked for,
    StorageError when another process writes there.
    """
    directory = models_directory() / name
    if not os.path.lexists(directory):
        raise _unknown(name)
    levels = [ref.level for ref in refs if ref.level]
    is_whole = len(levels) < len(refs)
    title = name if is_whole else ", ".join(dict.fromkeys(map(str, refs)))
    if directory.is_symlink():
        return _unlinked(directory, title, is_whole)
    if not directory.is_dir():
        raise _unknown(name)
    if checkpoint and is_whole:
        return _directory(directory, title)
    files = _gguf_files(directory)
    if is_whole:
        return _all_levels(directory, title, files)
    return _levels(directory, title, files, levels)


def _unlinked(directory: Path, title: str, is_whole: bool) -> Removal:
    """Plan to remove a link that stands for a model's directory, not what it points to."""
    place = directory.readlink()
    if not is_whole:
        raise UsageError(
            f"{directory} is a link to {place}: what lies there is not removed",
            hint=f"`localllm rm {directory.name}` removes the link",
        )
    return Removal(title, 0, links=(directory,), note=f"a link; what lies in {place} stays")


def _directory(directory: Path, title: str) -> Removal:
    """Plan to remove a directory with its checkpoint and everything else in it."""
    shipped = shipped_checkpoint(directory.name)
    if shipped is not None and shipped.samefile(directory):
        raise UsageError(f"the checkpoint of `{directory.name}` ships with localllm; it is not removed")
    _refuse_writers(directory, [""])
    return Removal(
        title,
        size_below(directory),
        folders=(directory,),
        used=(directory, *_gguf_files(directory)),
        locks=tuple(directory.glob(f".*{_LOCK_SUFFIX}")),
        note="with its checkpoint" if holds_checkpoint(directory) else None,
    )


def _all_levels(directory: Path, title: str, files: Sequence[Path]) -> Removal:
    """Plan to remove all GGUF files of a name, importance matrices too, and what belongs to them."""
    belonging = [path for path in sorted(directory.iterdir()) if _belongs_to_files(path)]
    if not files and not belonging and holds_checkpoint(directory):
        raise _checkpoint_only(directory)
    _refuse_writers(directory, [""])
    going = [*files, *belonging]
    return Removal(
        title,
        sum(map(size_of, going)),
        links=tuple(going),
        if_empty=(directory,),
        used=tuple(files),
        locks=tuple(directory.glob(f".*{_LOCK_SUFFIX}")),
        note=f"its {_what(directory)} stays" if holds_checkpoint(directory) else None,
    )


def _levels(directory: Path, title: str, files: Sequence[Path], levels: Iterable[str]) -> Removal:
    """Plan to remove the files of some levels, all parts of split ones, with their records."""
    sets = gguf_sets(files)
    there = {level: [found for found in sets if _level(found) == level] for level in map(_level, sets)}
    going: list[Path] = []
    for level in levels:
        if level not in there:
            known = ", ".join(sorted(name for name in there if name))
            raise NotFoundError(
                f"`{directory.name}` is not in the library at {level}",
                hint=f"it is there at {known}" if known else "`localllm list` shows what is there",
            )
        for found in there[level]:
            record = provenance.record_path(found.files[0])
            going += [*reversed(found.files), *([record] if record.is_file() else [])]
    _refuse_writers(directory, [path.name for path in going])
    return Removal(
        title,
        sum(map(size_of, going)),
        links=tuple(going),
        if_empty=(directory,),
        used=tuple(path for path in going if path.suffix == ".gguf"),
    )


def _gguf_files(directory: Path) -> list[Path]:
    """Return the GGUF files of a directory, also links that point nowhere."""
    return sorted(path for path in directory.glob("*.gguf") if not path.name.startswith("."))


def _belongs_to_files(path: Path) -> bool:
    """Tell whether something hidden was made along with GGUF files: records, parts that nobody writes to."""
    name = path.name
    if not name.startswith("."):
        return False
    is_record = name.endswith(provenance.SUFFIX) and name != provenance.SUFFIX
    return (
        is_record or name.endswith((DATA_SUFFIX, STATE_SUFFIX, _LOCK_SUFFIX)) or bool(_PART.fullmatch(name))
    )


def _refuse_writers(directory: Path, names: Iterable[str]) -> None:
    """Raise StorageError when a process that lives writes one of these files; "" stands for all."""
    import psutil

    for path in sorted(directory.iterdir()):
        part = _PART.fullmatch(path.name)
        if part is None or not psutil.pid_exists(int(part["owner"])):
            continue
        if any(path.name.startswith(f".{name}") for name in names):
            raise StorageError(
                f"{directory.name} is being written by another localllm, process {part['owner']}",
                hint="wait for it to end, or stop it",
            )


def _level(found: GGUFSet) -> str | None:
    return level_in_name(found.files[0])


def _checkpoint_only(directory: Path) -> UsageError:
    shipped = shipped_checkpoint(directory.name)
    if shipped is not None and shipped.samefile(directory):
        return UsageError(f"`{directory.name}` ships with localllm; there are no files of it to remove")
    return UsageError(
        f"`{directory.name}` is {_what(directory, 'a', 'an')} in the library",
        hint=f"`localllm rm {directory.name} --checkpoint` removes {directory} with all that is in it",
    )


def _what(directory: Path, *articles: str) -> str:
    """Return what a directory holds besides GGUF files, with the article that fits."""
    names = {path.name for path in directory.iterdir()}
    word = "adapter" if is_adapter(names) else "checkpoint"
    return f"{articles[word == 'adapter']} {word}" if articles else word


def _unknown(name: str) -> NotFoundError | UsageError:
    if shipped_checkpoint(name) is not None:
        return UsageError(f"`{name}` ships with localllm; there are no files of it to remove")
    near = difflib.get_close_matches(name, [path.name for path in model_directories()], n=1)
    hint = f"did you mean `{near[0]}`?" if near else "`localllm list` shows what is on this machine"
    return NotFoundError(f"`{name}` is not in the library", hint=hint)
