"""Which files a hub repository has at a revision: asked from the hub, or known from an earlier time."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from localllm.errors import HubError, NotFoundError
from localllm.hub.cache import MAIN, RepoFile, cached_repo, is_commit, is_etag, is_safe_path, is_sha256

_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
_MAX_FILES = 100_000
_MAX_SUGGESTED = 20


@dataclass(frozen=True)
class RepoListing:
    """The files of a repository at a commit; `revision` is what was asked for, None for the main branch."""

    repo: str
    revision: str | None
    commit: str
    files: tuple[RepoFile, ...]
    ignored: int = 0  # names that lead out of the repository's folder

    def file(self, path: str) -> RepoFile | None:
        return next((file for file in self.files if file.path == path), None)


def list_repo(repo: str, revision: str | None = None) -> RepoListing:
    """Ask the hub. Raise NotFoundError with the nearest names, GatedModelError, OfflineError or HubError."""
    from localllm.hub.failures import MissingRepoError, MissingRevisionError

    try:
        return ask_for_listing(repo, revision)
    except MissingRepoError:
        raise _no_repository(repo) from None
    except MissingRevisionError:
        raise _no_revision(repo, revision or MAIN) from None


def ask_for_listing(repo: str, revision: str | None = None) -> RepoListing:
    """Ask the hub, and for nothing else. Raise MissingRepoError, MissingRevisionError and as `list_repo`."""
    from localllm.hub.http import endpoint, get_json

    models = f"{endpoint()}/api/models"
    info, _ = get_json(f"{models}/{repo}/revision/{quote(revision or MAIN, safe='')}")
    commit, name = _commit_of(info, repo)
    entries = _tree(f"{models}/{name}/tree/{commit}?recursive=true")
    files = [file for entry in entries if (file := _file(entry)) is not None]
    hostile = sum(entry.get("type") == "file" for entry in entries) - len(files)
    return RepoListing(repo, revision, commit, tuple(files), hostile)


def known_listing(repo: str, revision: str | None = None) -> RepoListing | None:
    """Return what the cache tells of a repository, without the network: at best all its files."""
    cached = cached_repo(repo)
    commit = cached.commit(revision)
    if commit is None:
        return None
    files = cached.tree(commit) or cached.files(commit)
    return RepoListing(repo, revision, commit, tuple(files)) if files else None


def _commit_of(info: Any, repo: str) -> tuple[str, str]:
    """Return the commit, and the name the repository has now."""
    commit = info.get("sha") if isinstance(info, dict) else None
    if not isinstance(commit, str) or not is_commit(commit):
        raise HubError(f"the hub does not tell the commit of {repo}")
    name = info.get("id")
    return commit, name if isinstance(name, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", name) else repo


def _tree(url: str) -> list[dict[str, Any]]:
    from localllm.hub.http import get_json

    entries: list[dict[str, Any]] = []
    following: str | None = url
    while following and len(entries) < _MAX_FILES:
        page, headers = get_json(following)
        if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
            raise HubError("the hub's list of files makes no sense")
        entries += page
        match = _NEXT.search(headers.get("link", ""))
        following = match[1] if match else None
    return entries


def _file(entry: dict[str, Any]) -> RepoFile | None:
    """Return the file an entry describes; None for a folder and for names that lead out of theirs."""
    path, size, blob_id, large = (entry.get(key) for key in ("path", "size", "oid", "lfs"))
    if entry.get("type") != "file" or not isinstance(path, str) or not is_safe_path(path):
        return None
    if not isinstance(size, int) or size < 0 or not isinstance(blob_id, str) or not is_etag(blob_id):
        return None
    if not isinstance(large, dict):
        return RepoFile(path, size, blob_id)
    sha256, size = large.get("oid") or large.get("sha256"), large.get("size", size)
    if not isinstance(sha256, str) or not is_sha256(sha256) or not isinstance(size, int) or size < 0:
        return None
    return RepoFile(path, size, blob_id, sha256)


def _no_repository(repo: str) -> NotFoundError:
    near = _nearest(repo)
    message = f"there is no repository `{repo}` on the hub, or it is private"
    if near:
        return NotFoundError(message, hint=f"did you mean {' or '.join(f'`{name}`' for name in near)}?")
    return NotFoundError(message, hint="check the name; for a private one sign in with `hf auth login`")


def _nearest(repo: str) -> list[str]:
    """Return names on the hub that look like `repo`: of the same owner, then of anybody."""
    from localllm.hub.http import endpoint, get_json

    owner, _, name = repo.partition("/")
    names: list[str] = []
    for query in (f"author={quote(owner)}", f"search={quote(name)}", f"search={quote(repo)}"):
        try:
            found, _ = get_json(f"{endpoint()}/api/models?{query}&limit={_MAX_SUGGESTED}")
        except (HubError, NotFoundError):
            continue
        names += [str(entry.get("id")) for entry in found if isinstance(entry, dict) and entry.get("id")]
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(repo.lower(), list(lowered), n=2, cutoff=0.75)
    return [lowered[name] for name in close]


def _no_revision(repo: str, revision: str) -> NotFoundError:
    from localllm.hub.http import endpoint, get_json

    message = f"{repo} has no branch, tag or commit `{revision}`"
    try:
        refs, _ = get_json(f"{endpoint()}/api/models/{repo}/refs")
        names = [str(ref["name"]) for kind in ("branches", "tags") for ref in refs.get(kind, [])]
    except (HubError, NotFoundError, TypeError, KeyError, AttributeError):
        names = []
    if not names:
        return NotFoundError(message, hint="leave it out to take the main branch")
    near = difflib.get_close_matches(revision, names, n=1)
    known = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(names[:8])}"
    return NotFoundError(message, hint=known)
