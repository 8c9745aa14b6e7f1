"""The hub's endpoints, as huggingface_hub 2.4 calls them and as the hub answers them; also those of its CDN.

It never states a Xet hash, so clients take the plain HTTP way.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from tests.hub.answers import Answer, FileAnswer, json_answer
from tests.hub.repos import Blob, Commit, Entry, Repo

_API = re.compile(
    r"/api/models/(?P<repo>[^/]+(?:/[^/]+)?)"
    r"(?:/(?P<verb>revision|tree|paths-info|refs|commits|auth-check)(?:/(?P<revision>[^/]+)(?:/(?P<path>.*))?)?)?"
)
_RESOLVE = re.compile(r"/([^/]+(?:/[^/]+)?)/(resolve|raw)/([^/]+)/(.+)")
_CACHED = re.compile(r"/api/resolve-cache/models/([^/]+(?:/[^/]+)?)/([0-9a-f]{40})/(.+)")
_DATE = "2026-11-02T10:00:00.000Z"
_LISTED_MODEL_KEYS = (
    "_id",
    "id",
    "modelId",
    "private",
    "gated",
    "likes",
    "downloads",
    "tags",
    "createdAt",
    "lastModified",
    "author",
)


class RefusalError(Exception):
    """An error the hub states in its headers."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.answer = json_answer({"error": message}, **{"X-Error-Message": message, **headers})
        self.answer.status = status
        if code:
            self.answer.headers["X-Error-Code"] = code


@dataclass(frozen=True)
class Call:
    """A request, taken apart as far as the endpoints need it."""

    method: str
    raw_path: str  # still percent-encoded
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]  # by lower-case name
    body: bytes = b""

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[0].lower() in ("true", "1")

    def number(self, name: str, default: int) -> int:
        return int(self.query.get(name, [str(default)])[0])


class Signatures:
    """The CDN addresses that were handed out: each works until a fault lets it expire."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._blobs: dict[str, tuple[str, Blob]] = {}

    def issue(self, path: str, blob: Blob) -> str:
        with self._lock:
            signature = f"{next(self._numbers):08x}"
            self._blobs[signature] = (path, blob)
            return signature

    def redeem(self, path: str, signature: str | None) -> Blob | None:
        with self._lock:
            issued, blob = self._blobs.get(signature or "", ("", None))
            return blob if issued == path else None


class HubApi:
    """Answers of the hub's port."""

    def __init__(
        self, repos: Sequence[Repo], users: Mapping[str, str], page_size: int, signatures: Signatures
    ) -> None:
        self.endpoint = ""
        self.cdn = ""
        self.repos = list(repos)
        self.users = dict(users)  # token → name
        self.page_size = page_size
        self.resolve_cache = False
        self.compresses_text = False
        self._signatures = signatures

    def answer(self, call: Call) -> Answer | FileAnswer:
        try:
            self._check_token(call)
            if call.raw_path == "/api/whoami-v2":
                return self._whoami(call)
            if call.raw_path == "/api/agent-harnesses":  # asked once a day by clients with telemetry
                return json_answer({"standardEnvVars": [], "harnesses": {}})
            if call.raw_path == "/api/models":
                return self._models(call)
            if match := _API.fullmatch(call.raw_path):
                return self._model(call, match)
            if match := _CACHED.fullmatch(call.raw_path):
                repo, revision, path = (unquote(part) for part in match.groups())
                return self._resolve(call, repo, revision, path, "cached")
            if match := _RESOLVE.fullmatch(call.raw_path):
                repo, verb, revision, path = (unquote(part) for part in match.groups())
                return self._resolve(call, repo, revision, path, verb)
            raise RefusalError(404, "Sorry, we can't find the page you are looking for.")
        except RefusalError as refusal:
            return refusal.answer

    def _check_token(self, call: Call) -> None:
        if call.token is not None and self._user(call) is None:
            raise RefusalError(401, "Invalid credentials in Authorization header")

    def _user(self, call: Call) -> str | None:
        if call.token in self.users:
            return self.users[call.token]
        return "tester" if any(call.token in repo.tokens for repo in self.repos) else None

    def _whoami(self, call: Call) -> Answer:
        user = self._user(call)
        if user is None:
            raise RefusalError(401, "Invalid username or password.")
        token = {"displayName": "test", "role": "read", "createdAt": _DATE}
        return json_answer(
            {
                "type": "user",
                "id": "6470b7e1a6f3c7a3d5a1c001",
                "name": user,
                "fullname": user,
                "isPro": False,
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": token},
            }
        )

    # Which repository, which commit

    def _find(self, call: Call, name: str) -> Repo:
        for repo in self.repos:
            if name == repo.name:
                break
            if name in repo.former_names:
                raise _moved(call, name, repo.name)
        else:
            raise self._not_found(call)
        if repo.private and call.token not in repo.tokens:
            raise self._not_found(call)
        if repo.disabled:
            raise RefusalError(403, "Access to this resource is disabled.")
        return repo

    def _not_found(self, call: Call) -> RefusalError:
        """What is missing looks like what is private. Without a token the hub answers 401."""
        if call.token is None:  # stock clients recognise a 401 without a code on https addresses only
            return RefusalError(401, "Invalid username or password.", "RepoNotFound")
        return RefusalError(404, "Repository not found", "RepoNotFound")

    def _check_gate(self, call: Call, repo: Repo) -> None:
        if not repo.gated or call.token in repo.tokens:
            return
        restricted = f"Access to model {repo.name} is restricted"
        if call.token is None:
            how = "You must have access to it and be authenticated to access it. Please log in."
            raise RefusalError(401, f"{restricted}. {how}", "GatedRepo")
        how = f"Visit {self.endpoint}/{repo.name} to ask for access."
        raise RefusalError(403, f"{restricted} and you are not in the authorized list. {how}", "GatedRepo")

    def _commit(self, repo: Repo, revision: str) -> Commit:
        commit = repo.resolve(revision)
        if commit is None:
            raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # /api/models

    def _models(self, call: Call) -> Answer:
        words = call.query.get("search", [""])[0].lower().split()
        author = call.query.get("author", [None])[0]
        found = [
            {key: info[key] for key in _LISTED_MODEL_KEYS}
            for repo in self.repos
            if not repo.private or call.token in repo.tokens
            if author in (None, repo.name.partition("/")[0])
            if all(word in repo.name.lower() for word in words)
            for info in [_model_info(repo, self._commit(repo, "main"), with_blobs=False)]
        ]
        return self._page(call, found)

    def _model(self, call: Call, match: re.Match[str]) -> Answer:
        repo = self._find(call, unquote(match["repo"]))
        handlers: dict[str | None, Callable[[Call, Repo, Commit, str], Answer]] = {
            None: self._info,
            "revision": self._info,
            "tree": self._tree,
            "paths-info": self._paths_info,
            "commits": self._commits,
            "refs": self._refs,
            "auth-check": self._auth_check,
        }
        commit = self._commit(repo, unquote(match["revision"] or "main"))
        return handlers[match["verb"]](call, repo, commit, unquote(match["path"] or ""))

    def _info(self, call: Call, repo: Repo, commit: Commit, path: str) -> Answer:
        info = _model_info(repo, commit, with_blobs=call.flag("blobs"))
        if expand := call.query.get("expand"):
            info = {key: value for key, value in info.items() if key in {"_id", "id", *expand}}
        return json_answer(info)

    def _tree(self, call: Call, repo: Repo, commit: Commit, path: str) -> Answer:
        entries = list(repo.entries(commit).values())
        folder = path.strip("/")
        listing = _tree(entries, folder, recursive=call.flag("recursive"))
        if folder and not listing:
            raise RefusalError(404, f'"{folder}" does not exist on "{commit.id}"', "EntryNotFound")
        if call.flag("expand"):
            for entry in listing:
                entry["lastCommit"] = {"id": commit.id, "title": commit.title, "date": _DATE}
        return self._page(call, listing)

    def _paths_info(self, call: Call, repo: Repo, commit: Commit, path: str) -> Answer:
        if call.headers.get("content-type", "").startswith("application/json"):
            paths = json.loads(call.body)["paths"]
        else:
            paths = parse_qs(call.body.decode()).get("paths", [])
        listing = _tree(list(repo.entries(commit).values()), "", recursive=True)
        return json_answer([entry for entry in listing if entry["path"] in paths])

    def _commits(self, call: Call, repo: Repo, commit: Commit, path: str) -> Answer:
        history = [
            {
                "id": each.id,
                "title": each.title,
                "message": "",
                "date": _DATE,
                "authors": [],
            }
            for each in repo.history(commit)
        ]
        return self._page(call, history)

    def _refs(self, call: Call, repo: Repo, commit: Commit, path: str) -> Answer:
        def refs(kind: str, named: Mapping[str, str]) -> list[dict[str, str]]:
            return [
                {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": target}
                for name, target in named.items()
            ]

        heads, tags = refs("heads", repo.branches), refs("tags", repo.tags)
        return json_answer({"branches": heads, "converts": [], "tags": tags, "pullRequests": []})

    def _auth_check(self, call: Call, repo: Repo, commit: Commit, path: str) -> Answer:
        self._check_gate(call, repo)
        return Answer(200, b"OK", {"Content-Type": "text/plain"})

    def _page(self, call: Call, items: list[dict[str, Any]]) -> Answer:
        """Answer a part of a listing, and in the Link header where it goes on."""
        limit = min(call.number("limit", self.page_size), self.page_size)
        cursor = call.query.get("cursor", [""])[0]
        start = int(base64.urlsafe_b64decode(cursor)) if cursor else 0
        answer = json_answer(items[start : start + limit])
        if start + limit < len(items):
            following = base64.urlsafe_b64encode(str(start + limit).encode()).decode()
            query = urlencode({**call.query, "cursor": [following]}, doseq=True)
            answer.headers["Link"] = f'<{self.endpoint}{call.raw_path}?{query}>; rel="next"'
        return answer

    # /{repo}/resolve/{revision}/{path}

    def _resolve(self, call: Call, name: str, revision: str, path: str, verb: str) -> Answer | FileAnswer:
        repo = self._find(call, name)
        self._check_gate(call, repo)
        commit = self._commit(repo, revision)
        entry = repo.entries(commit).get(path)
        headers = {"X-Repo-Commit": commit.id}
        if entry is None:
            raise RefusalError(404, "Entry not found", "EntryNotFound", **headers)
        if verb == "raw":
            blob = Blob(entry.blob.pointer) if entry.is_lfs else entry.blob
            return FileAnswer(blob, f'"{entry.git_oid}"', headers)
        if entry.is_lfs:
            return self._to_cdn(repo, entry, headers)
        if self.resolve_cache and verb == "resolve":
            location = f"/api/resolve-cache/models/{repo.name}/{commit.id}/{quote(path)}"
            return Answer(307, b"", {"Location": location, "ETag": f'"{entry.etag}"', **headers})
        headers["Content-Disposition"] = f"inline; filename*=UTF-8''{quote(PurePosixPath(path).name)}"
        return FileAnswer(entry.blob, f'"{entry.etag}"', headers, compressible=self.compresses_text)

    def _to_cdn(self, repo: Repo, entry: Entry, headers: Mapping[str, str]) -> Answer:
        path = f"/lfs/{repo.name}/{entry.etag}/{entry.path}"
        signature = self._signatures.issue(path, entry.blob)
        location = f"{self.cdn}{quote(path)}?Expires=1893456000&Signature={signature}&Key-Pair-Id=STANDIN"
        body = f"Found. Redirecting to {location}".encode()
        linked = {"X-Linked-Size": str(entry.size), "X-Linked-Etag": f'"{entry.etag}"'}
        plain = {"Content-Type": "text/plain; charset=utf-8", "Accept-Ranges": "bytes"}
        return Answer(302, body, {"Location": location, **linked, **plain, **headers})


class CdnApi:
    """Answers of the CDN's port: signed addresses of large files, and plain files for any other address."""

    def __init__(self, files: Mapping[str, Blob], signatures: Signatures) -> None:
        self.files = dict(files)
        self._signatures = signatures

    def answer(self, call: Call) -> Answer | FileAnswer:
        if "authorization" in call.headers:
            return _xml_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        path = unquote(call.raw_path)
        if path.startswith("/files/"):
            blob = self.files.get(path.removeprefix("/files/"))
            if blob is None:
                return Answer(404, b"Not Found", {"Content-Type": "text/plain"})
        else:
            blob = self._signatures.redeem(path, call.query.get("Signature", [None])[0])
            if blob is None:
                return _xml_error(403, "AccessDenied", "Access Denied")
        return FileAnswer(blob, f'"{blob.storage_tag}"', {"Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"})


def _moved(call: Call, old: str, new: str) -> RefusalError:
    query = "?" + urlencode(call.query, doseq=True) if call.query else ""
    location = call.raw_path.replace(old, new, 1) + query
    return RefusalError(307, "Temporary Redirect", Location=location)


def _xml_error(status: int, code: str, message: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})


def _model_info(repo: Repo, commit: Commit, *, with_blobs: bool) -> dict[str, Any]:
    author = repo.name.partition("/")[0] if "/" in repo.name else None
    return {
        "_id": hashlib.md5(repo.name.encode()).hexdigest()[:24],
        "id": repo.name,
        "modelId": repo.name,
        "author": author,
        "sha": commit.id,
        "lastModified": _DATE,
        "createdAt": _DATE,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": repo.disabled,
        "downloads": 12,
        "likes": 3,
        "tags": [],
        "siblings": [_sibling(entry, with_blobs) for entry in repo.entries(commit).values()],
        **repo.info,
    }


def _sibling(entry: Entry, with_blobs: bool) -> dict[str, Any]:
    if not with_blobs:
        return {"rfilename": entry.path}
    sibling: dict[str, Any] = {"rfilename": entry.path, "size": entry.size, "blobId": entry.git_oid}
    if entry.is_lfs:
        sibling["lfs"] = {"sha256": entry.etag, "size": entry.size, "pointerSize": len(entry.blob.pointer)}
    return sibling


def _tree(entries: Sequence[Entry], folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """List what lies in a folder; folders first where they come first, as git sorts them."""
    prefix = f"{folder}/" if folder else ""
    listing: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if not entry.path.startswith(prefix):
            continue
        inner = entry.path[len(prefix) :]
        steps = [] if _is_hostile(inner) else inner.split("/")[:-1]
        parents = ["/".join(steps[: depth + 1]) for depth in range(len(steps))]
        for parent in parents if recursive else parents[:1]:
            path = prefix + parent
            oid = hashlib.sha1(path.encode()).hexdigest()
            listing.setdefault(path, {"type": "directory", "oid": oid, "size": 0, "path": path})
        if recursive or not parents:
            listing[entry.path] = _file(entry)
    return list(listing.values())


def _is_hostile(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/")


def _file(entry: Entry) -> dict[str, Any]:
    listed: dict[str, Any] = {"type": "file", "oid": entry.git_oid, "size": entry.size, "path": entry.path}
    if entry.is_lfs:
        listed["lfs"] = {"oid": entry.etag, "size": entry.size, "pointerSize": len(entry.blob.pointer)}
    return listed
