"""The standard Hugging Face cache on disk: where its files lie, and what is there. No network, no imports.

    models--org--repo/
        refs/main                      the commit a branch or tag was at when somebody asked
        blobs/<etag>                   contents, named by sha256, small files by git's hash
        snapshots/<commit>/<file>      links to blobs (copies where there are no links)
        trees/<commit>.json            which files the commit has, whether they were downloaded or not
    .locks/models--org--repo/<etag>.lock

The layout is that of huggingface_hub 2.4; other tools read and write the same files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from localllm.errors import HubError

MAIN = "main"
ELSEWHERE = "let HF_HOME name a directory on another disk"
_PREFIX = "models--"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_GIT_HASH = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_TREE_FORMAT = 1


@dataclass(frozen=True)
class RepoFile:
    """A file of a repository: `path` with forward slashes, `blob_id` git's hash, `sha256` of large files."""

    path: str
    size_bytes: int
    blob_id: str
    sha256: str | None = None

    @property
    def etag(self) -> str:
        """Return the name of its blob in the cache."""
        return self.sha256 or self.blob_id

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class CachedRepo:
    """The folder of a hub repository in the cache; it may not exist yet."""

    repo: str
    folder: Path

    def commit(self, revision: str | None = None) -> str | None:
        """Return the commit a revision was at when it was last asked for; None when nobody did."""
        revision = revision or MAIN
        if _COMMIT.fullmatch(revision):
            return revision
        if not is_safe_path(revision):
            return None
        try:
            text = (self.folder / "refs" / revision).read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return None
        return text if _COMMIT.fullmatch(text) else None

    def commits(self) -> list[str]:
        """Return the commits of which files are here."""
        snapshots = self.folder / "snapshots"
        names = [path.name for path in snapshots.iterdir()] if snapshots.is_dir() else []
        return sorted(name for name in names if _COMMIT.fullmatch(name))

    def revisions(self) -> dict[str, str]:
        """Return the branches and tags that were asked for, with the commit each was at."""
        refs = self.folder / "refs"
        names = [path.relative_to(refs).as_posix() for path in sorted(refs.rglob("*")) if path.is_file()]
        return {name: commit for name in names if (commit := self.commit(name))}

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def blob(self, etag: str) -> Path:
        return self.folder / "blobs" / etag

    def lock(self, etag: str) -> Path:
        return self.folder.parent / ".locks" / self.folder.name / f"{etag}.lock"

    def files(self, commit: str) -> list[RepoFile]:
        """Return the files of a commit that are here, whoever downloaded them."""
        snapshot = self.snapshot(commit)
        return [
            _found(path, path.relative_to(snapshot).as_posix())
            for path in sorted(snapshot.rglob("*"))
            if path.is_file()
        ]

    def tree(self, commit: str) -> list[RepoFile] | None:
        """Return all files the commit has on the hub, if a download wrote that down."""
        try:
            content = json.loads((self.folder / "trees" / f"{commit}.json").read_text(encoding="utf-8"))
            if content["format_version"] != _TREE_FORMAT:
                return None
            return [
                RepoFile(path, int(entry["size"]), str(entry["blob_id"]), entry.get("lfs_sha256"))
                for path, entry in content["files"].items()
                if is_safe_path(path)
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def save_tree(self, commit: str, files: Sequence[RepoFile]) -> None:
        """Write down which files a commit has, so that nobody has to ask again."""
        target = self.folder / "trees" / f"{commit}.json"
        if target.is_file():
            return
        entries = {file.path: _tree_entry(file) for file in sorted(files, key=lambda file: file.path)}
        content = json.dumps({"format_version": _TREE_FORMAT, "files": entries}, indent=1)
        _write_whole(target, content)

    def save_revision(self, revision: str | None, commit: str) -> None:
        """Write down which commit a branch or tag is at."""
        revision = revision or MAIN
        if revision != commit and self.commit(revision) != commit:
            _write_whole(self.folder / "refs" / revision, commit)

    def place(self, file: RepoFile, commit: str) -> Path:
        """Return where a file of a commit lies, or would."""
        return self.snapshot(commit).joinpath(*file.path.split("/"))

    def holds(self, file: RepoFile, commit: str) -> bool:
        """Tell whether a file of a commit is here in its full length."""
        with suppress(OSError):
            return self.place(file, commit).stat().st_size == file.size_bytes
        return False

    def link(self, file: RepoFile, commit: str) -> Path:
        """Make a blob that is here the file of a commit, and return where that lies."""
        blob, place = self.blob(file.etag), self.place(file, commit)
        place.parent.mkdir(parents=True, exist_ok=True)
        if self.folder.resolve() not in place.parent.resolve().parents:
            raise HubError(f"{place.parent} leads out of the cache", hint="remove that link")
        temporary = place.with_name(f".{place.name[:100]}.{os.getpid()}.link")
        with suppress(OSError):
            temporary.unlink()
        try:
            temporary.symlink_to(os.path.relpath(blob, place.parent))
        except (OSError, NotImplementedError):  # Windows without the right to make links
            shutil.copyfile(blob, temporary)
        temporary.replace(place)
        return place


def cache_directory() -> Path:
    """Return the root of the cache, as huggingface_hub finds it (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME)."""
    environment = os.environ
    general = environment.get("XDG_CACHE_HOME") or "~/.cache"
    home = environment.get("HF_HOME") or os.path.join(general, "huggingface")  # noqa: PTH118
    hub = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(hub or os.path.join(home, "hub"))).expanduser()  # noqa: PTH118


def cached_repo(repo: str) -> CachedRepo:
    """Return the place of `org/repo` in the cache."""
    return CachedRepo(repo, cache_directory() / f"{_PREFIX}{repo.replace('/', '--')}")


def cached_repos() -> Iterator[CachedRepo]:
    """Yield the repositories in the cache that hold files."""
    root = cache_directory()
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        repo = folder.name.removeprefix(_PREFIX).replace("--", "/", 1)
        if folder.name.startswith(_PREFIX) and _REPO.fullmatch(repo) and (folder / "snapshots").is_dir():
            yield CachedRepo(repo, folder)


def is_safe_path(path: str) -> bool:
    """Tell whether a name from the hub stays inside its folder, on every system, and can be shown."""
    parts = path.split("/")
    return (
        bool(path)
        and len(path) <= 1024
        and path.isprintable()
        and "\\" not in path
        and not any(part in ("", ".", "..") for part in parts)
        and not PurePosixPath(path).is_absolute()
        and not PureWindowsPath(path).anchor
        and not any(PureWindowsPath(part).anchor or ":" in part for part in parts)
    )


def is_etag(text: str) -> bool:
    """Tell whether `text` is a hash that names a blob."""
    return bool(_SHA256.fullmatch(text) or _GIT_HASH.fullmatch(text))


def is_sha256(text: str) -> bool:
    return bool(_SHA256.fullmatch(text))


def is_commit(text: str) -> bool:
    return bool(_COMMIT.fullmatch(text))


def _found(path: Path, name: str) -> RepoFile:
    """Describe a file that is here by what its link tells; a copy tells no hash."""
    blob = path.readlink().name if path.is_symlink() else ""  # not further: shared blobs are links
    return RepoFile(name, path.stat().st_size, blob, blob if is_sha256(blob) else None)


def _tree_entry(file: RepoFile) -> dict[str, object]:
    entry: dict[str, object] = {"size": file.size_bytes, "blob_id": file.blob_id}
    if file.sha256:
        entry |= {"lfs_sha256": file.sha256, "lfs_size": file.size_bytes}
    return entry


def _write_whole(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(target)
