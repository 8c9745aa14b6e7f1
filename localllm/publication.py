"""Nothing half-made under a final name: files are written beside their target, then moved onto it.

A part file is called `.{name}.part-{pid}` so that a later run can tell which ones nobody writes to
any more and remove them.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from localllm.errors import SameFileError, StorageError, UsageError
from localllm.units import format_bytes

ELSEWHERE = "choose another place with `-o`"
_PART = ".part-"  # then the number of the process that writes it
_TEMPORARY = "localllm-"  # then the number of the process, and whatever is free
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def publishing(target: Path) -> Iterator[Path]:
    """Yield a path to write to; on success it becomes `target`, on any failure nothing remains.

    Missing parent directories are made, and removed again when the write fails. Raise StorageError
    for anything the file system refuses.
    """
    with publishing_files([target]) as parts:
        yield parts[0]


@contextmanager
def publishing_files(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield a path to write to for each of `targets`, files of one directory that belong together.

    On success they become the targets, on any failure none of them remains; see `publishing`. Renaming takes
    several steps: an older first file is removed before them and the new first file comes last, so that a
    process killed in between leaves no first file and nothing that looks complete.
    Raise StorageError for anything the file system refuses.
    """
    first = targets[0]
    for target in targets:
        require_replaceable(target)
    with translated_errors(first):
        made = _make_parents(first.parent)
        for target in targets:
            remove_stale_parts(target)
    parts = [_part_of(target) for target in targets]
    published: list[Path] = []
    try:
        with translated_errors(first):
            for part, target in zip(parts, targets, strict=True):
                _claim(part, target)
            yield parts
            for part, target in zip(parts, targets, strict=True):
                _require_written(part, target)
                _flush_to_disk(part)
            if len(targets) > 1:
                first.unlink(missing_ok=True)
            for part, target in reversed(list(zip(parts, targets, strict=True))):
                part.replace(target)
                published.append(target)
    except BaseException:
        for path in (*parts, *published):
            with suppress(OSError):
                path.unlink()
        _remove_empty(made)
        raise
    _flush_directory(first.parent)


@contextmanager
def publishing_directory(target: Path) -> Iterator[Path]:
    """Yield a directory to fill; on success it becomes `target`, on any failure nothing remains.

    `target` may be an empty directory. Raise StorageError for anything the file system refuses.
    """
    with translated_errors(target):
        made = _make_parents(target.parent)
        remove_stale_parts(target)
        part = _part_of(target)
        part.mkdir()
    try:
        with translated_errors(target):
            yield part
            for path in part.iterdir():
                _flush_to_disk(path)
            _flush_directory(part)
            if target.is_dir():
                target.rmdir()
            part.replace(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        _remove_empty(made)
        raise
    _flush_directory(target.parent)


@contextmanager
def replacing(target: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Yield an empty file to write to, which then takes the place of `target`, unless it was removed.

    On any failure nothing of it remains. For what can be made again: unlike with `publishing` it is not
    forced to the disk, and who reads it later must recognise what a power failure left. Raise OSError.
    """
    part = _part_of(target)
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=mode)
        yield part
        if part.exists():
            part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def translated_errors(target: Path, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Turn an OSError while writing `target` into a StorageError; `elsewhere` hints at another place."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            free = free_bytes(target)
            hint = f"{format_bytes(free)} are free there; free some space or {elsewhere}"
            raise StorageError(f"no space left to write {target}", hint=hint) from error
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from error


def remove_stale_parts(target: Path) -> None:
    """Remove part files of `target` whose process is gone."""
    import psutil

    with suppress(OSError):
        for path, owner in _parts_of(target).items():
            if not psutil.pid_exists(owner):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def remove_stale_parts_in(directory: Path) -> None:
    """Remove the part files in `directory` whose process is gone, whatever they were to become."""
    with suppress(OSError):
        for target in {part.name[1:].rpartition(_PART)[0] for part in directory.glob(f".*{_PART}*")}:
            remove_stale_parts(directory / target)


def free_bytes(path: Path) -> int:
    """Return the free bytes on the file system that holds `path` or will hold it."""
    return shutil.disk_usage(_existing(path)).free


def require_space(sizes: Sequence[tuple[Path, int]], elsewhere: str = ELSEWHERE) -> None:
    """Raise StorageError when the disks cannot hold so many bytes more at each of the paths."""
    wanted: dict[int, list[tuple[Path, int]]] = {}
    for target, size in sizes:
        with translated_errors(target):
            wanted.setdefault(_existing(target).stat().st_dev, []).append((target, size))
    for together in wanted.values():
        target, needed = together[0][0], sum(size for _, size in together)
        free = free_bytes(target)
        if needed > free:
            what = str(target) if len(together) == 1 else f"{target} and {len(together) - 1} more"
            raise StorageError(
                f"{what} need{'s' * (len(together) == 1)} {format_bytes(needed)}, but only "
                f"{format_bytes(free)} are free there",
                hint=f"free some space or {elsewhere}",
            )


def require_replaceable(target: Path) -> None:
    """Raise UsageError when something lies at `target` that is not a file: renaming would take its place."""
    with translated_errors(target):
        if target.exists() and not target.is_file():
            what = "a directory" if target.is_dir() else "no regular file"
            raise UsageError(f"{target} is {what}", hint="choose a file with `-o`, such as model.gguf")


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Yield a new directory for files nobody else needs, removed afterwards, or by a later run if need be."""
    import psutil

    place = Path(tempfile.gettempdir())
    for path in place.glob(f"{_TEMPORARY}*"):
        owner = path.name.removeprefix(_TEMPORARY).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(path, ignore_errors=True)
    with translated_errors(place):
        folder = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{os.getpid()}-"))
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except BaseException:  # Ctrl-C at this very moment
            shutil.rmtree(folder, ignore_errors=True)
            raise


def require_distinct(source: Path, target: Path) -> None:
    """Raise SameFileError when writing `target` would overwrite `source`, also through a link."""
    if target.exists() and target.samefile(source):
        raise SameFileError(
            f"{target} is the file it would be made from", hint="choose another output with `-o`"
        )


def _part_of(target: Path) -> Path:
    return target.with_name(f".{target.name}{_PART}{os.getpid()}")


def _existing(path: Path) -> Path:
    """Return `path`, or the nearest directory above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _claim(part: Path, target: Path) -> None:
    """Begin `part` and make sure that nobody else writes `target`. Raise StorageError when somebody does.

    Whoever finds another part after beginning their own gives way, so that at most one goes on.
    """
    part.unlink(missing_ok=True)  # of an earlier process with our number
    part.touch(exist_ok=False)
    for other, owner in _parts_of(target).items():
        if other != part:
            raise StorageError(
                f"{target} is being written by another localllm, process {owner}",
                hint="wait for it to end, or choose another place with `-o`",
            )


def _require_written(part: Path, target: Path) -> None:
    if part.stat().st_size == 0:
        raise StorageError(f"cannot write {target}: nothing came to be written")


def _parts_of(target: Path) -> dict[Path, int]:
    """Return the parts of `target` with the number of the process each belongs to."""
    prefix = f".{target.name}{_PART}"
    owners = {path: path.name.removeprefix(prefix) for path in target.parent.iterdir()}
    return {path: int(owner) for path, owner in owners.items() if owner != path.name and owner.isdigit()}


def _make_parents(directory: Path) -> list[Path]:
    """Create `directory` and return what was missing, deepest first."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(directories: Iterable[Path]) -> None:
    for directory in directories:
        with suppress(OSError):
            directory.rmdir()


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_directory(directory: Path) -> None:
    """Make the rename itself durable where directories can be synced (not on Windows)."""
    if os.name == "nt":
        return
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
