"""Where a model comes from: what localllm made has a record beside it, what was pulled a place in the cache.

The record of `NAME-LEVEL.gguf` is the hidden file `.NAME-LEVEL.made.json` beside it, one for all parts of a
split model; that of a checkpoint is `.made.json` in its directory. Only the library has records. A model is
complete without one, so that failing to write it fails nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localllm.errors import LocalLLMError
from localllm.events import Emit, Notice, ignore
from localllm.gguf_file.split_names import whole_stem
from localllm.hub.cache import CachedRepo, is_commit
from localllm.publication import publishing
from localllm.store import models_directory

_SCHEMA = 1
SUFFIX = ".made.json"
_REPO_PREFIX = "models--"
_SNAPSHOTS = "snapshots"
_LLAMA_CPP = "llama-cpp-python"


@dataclass(frozen=True)
class Origin:
    """A commit of a hub repository, and the branches and tags that were there when asked."""

    repo: str
    commit: str
    revisions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """How files were made: the verb, what from, and the options that were not left to their defaults."""

    command: str
    source: str
    origin: Origin | None = None
    adapters: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    imatrix: str | None = None


@dataclass(frozen=True)
class FileRecord:
    """A file as it was written; `sha256` is None as long as nobody has read it whole."""

    name: str
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class Provenance:
    """What a record says. `made` is None when a model was only checked, and nobody knows how it was made."""

    made: Made | None
    recorded_at: str
    localllm: str | None
    llama_cpp: str | None
    files: tuple[FileRecord, ...]

    def sha256_of(self, path: Path) -> str | None:
        """Return the checksum on record for a file, if there is one."""
        return next((file.sha256 for file in self.files if file.name == path.name), None)


def record(paths: Sequence[Path], made: Made, *, emit: Emit = ignore) -> None:
    """Write down how the files of one model, or a checkpoint directory, in the library were made.

    Paths elsewhere are left alone. What goes wrong becomes a Notice.
    """
    try:
        if keeps_records(paths[0]):
            _write(paths[0], _now_made(made, _files_of(paths)))
    except (LocalLLMError, OSError, ValueError) as error:
        emit(Notice(f"how {paths[0]} was made could not be written down: {error}", topic="provenance"))


def read(path: Path) -> Provenance | None:
    """Return the record of a model: of a file, the first of a split one, or of a checkpoint directory."""
    try:
        return _parse(json.loads(record_path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_fitting(path: Path) -> Provenance | None:
    """Return the record of a model as long as its files have the sizes they had when it was written."""
    found = read(path)
    place = path if path.is_dir() else path.parent
    return (
        found if found and all(_size(place / file.name) == file.size_bytes for file in found.files) else None
    )


def keeps_records(path: Path) -> bool:
    """Tell whether a model, which is there, lies in the library itself, not behind a link to elsewhere."""
    place = path if path.is_dir() else path.parent
    return models_directory().resolve() in place.resolve().parents


def add_checksums(path: Path, files: Sequence[FileRecord]) -> None:
    """Write down the checksums of a model's files, keeping what is known of it. Raise StorageError."""
    known = read(path) or _now_made(None, ())
    _write(path, replace(known, files=tuple(files)))


def record_path(path: Path) -> Path:
    """Return where the record of a model is, or would be."""
    return path / SUFFIX if path.is_dir() else path.with_name(f".{whole_stem(path)}{SUFFIX}")


def origin_of(path: Path) -> Origin | None:
    """Return which commit of a hub repository a path in the cache belongs to; links are not followed."""
    for folder in (path, *path.parents):
        if folder.parent.name == _SNAPSHOTS and is_commit(folder.name):
            home = folder.parent.parent
            if home.name.startswith(_REPO_PREFIX):
                repo = CachedRepo(home.name.removeprefix(_REPO_PREFIX).replace("--", "/", 1), home)
                names = [name for name, commit in repo.revisions().items() if commit == folder.name]
                return Origin(repo.repo, folder.name, tuple(names))
    return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _files_of(paths: Sequence[Path]) -> tuple[FileRecord, ...]:
    if paths[0].is_dir():
        paths = [path for path in sorted(paths[0].iterdir()) if path.is_file() and path.name[0] != "."]
    return tuple(FileRecord(path.name, path.stat().st_size) for path in paths)


def _now_made(made: Made | None, files: tuple[FileRecord, ...]) -> Provenance:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Provenance(made, now, _version("localllm"), _version(_LLAMA_CPP), files)


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _write(path: Path, provenance: Provenance) -> None:
    text = json.dumps({"schema": _SCHEMA, **asdict(provenance)}, indent=2, default=str)
    with publishing(record_path(path)) as part:
        part.write_text(text + "\n", encoding="utf-8")


def _parse(content: Any) -> Provenance:
    """Read a record. Raise ValueError, KeyError or TypeError for what is none."""
    if content["schema"] != _SCHEMA:
        raise ValueError("written by another version")
    made = content["made"]
    return Provenance(
        None if made is None else _parse_made(made),
        str(content["recorded_at"]),
        content["localllm"] and str(content["localllm"]),
        content["llama_cpp"] and str(content["llama_cpp"]),
        tuple(
            FileRecord(str(file["name"]), int(file["size_bytes"]), file["sha256"] and str(file["sha256"]))
            for file in content["files"]
        ),
    )


def _parse_made(made: Any) -> Made:
    origin = made["origin"]
    return Made(
        str(made["command"]),
        str(made["source"]),
        origin and Origin(str(origin["repo"]), str(origin["commit"]), tuple(map(str, origin["revisions"]))),
        tuple(map(str, made["adapters"])),
        dict(made["options"]),
        made["imatrix"] and str(made["imatrix"]),
    )
