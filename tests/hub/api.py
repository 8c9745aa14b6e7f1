"""The hub's endpoints, as huggingface_hub 2.4 calls them and as the hub answers them.

It never states a Xet hash, so clients take the plain HTTP way.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from tests.hub.answers import Answer, Call, FileAnswer, json_answer
from tests.hub.cdn import Signatures
from tests.hub.listings import DATE, SEARCH_KEYS, model_info, tree
from tests.hub.repos import Blob, Commit, Entry, Repo
from tests.hub.uploads import Uploads

_API = re.compile(
    r"/api/models/(?P<repo>[^/]+(?:/[^/]+)?)"
    r"(?:/(?P<verb>revision|tree|paths-info|refs|commits|auth-check)(?:/(?P<revision>[^/]+)(?:/(?P<path>.*))?)?)?"
)
_RESOLVE = re.compile(r"/([^/]+(?:/[^/]+)?)/(resolve|raw)/([^/]+)/(.+)")
_CACHED = re.compile(r"/api/resolve-cache/models/([^/]+(?:/[^/]+)?)/([0-9a-f]{40})/(.+)")


class RefusalError(Exception):
    """An error the hub states in its headers."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.answer = json_answer({"error": message}, **{"X-Error-Message": message, **headers})
        self.answer.status = status
        if code:
            self.answer.headers["X-Error-Code"] = code


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
        self.uploads = Uploads(self.repos, self.users)

    def answer(self, call: Call) -> Answer | FileAnswer:
        try:
            self._check_token(call)
            written = self.uploads.answer(call)
            if written is not None:
                return written
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
        token = {"displayName": "test", "role": "read", "createdAt": DATE}
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
            {key: info[key] for key in SEARCH_KEYS}
            for repo in self.repos
            if not repo.private or call.token in repo.tokens
            if author in (None, repo.name.partition("/")[0])
            if all(word in repo.name.lower() for word in words)
            for info in [model_info(repo, self._commit(repo, "main"), with_blobs=False)]
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
        info = model_info(repo, commit, with_blobs=call.flag("blobs"))
        if expand := call.query.get("expand"):
            info = {key: value for key, value in info.items() if key in {"_id", "id", *expand}}
        return json_answer(info)

    def _tree(self, call: Call, repo: Repo, commit: Commit, path: str) -> Answer:
        entries = list(repo.entries(commit).values())
        folder = path.strip("/")
        listing = tree(entries, folder, recursive=call.flag("recursive"))
        if folder and not listing:
            raise RefusalError(404, f'"{folder}" does not exist on "{commit.id}"', "EntryNotFound")
        if call.flag("expand"):
            for entry in listing:
                entry["lastCommit"] = {"id": commit.id, "title": commit.title, "date": DATE}
        return self._page(call, listing)

    def _paths_info(self, call: Call, repo: Repo, commit: Commit, path: str) -> Answer:
        if call.headers.get("content-type", "").startswith("application/json"):
            paths = json.loads(call.body)["paths"]
        else:
            paths = parse_qs(call.body.decode()).get("paths", [])
        listing = tree(list(repo.entries(commit).values()), "", recursive=True)
        return json_answer([entry for entry in listing if entry["path"] in paths])

    def _commits(self, call: Call, repo: Repo, commit: Commit, path: str) -> Answer:
        history = [
            {"id": each.id, "title": each.title, "message": "", "date": DATE, "authors": []}
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


def _moved(call: Call, old: str, new: str) -> RefusalError:
    query = "?" + urlencode(call.query, doseq=True) if call.query else ""
    location = call.raw_path.replace(old, new, 1) + query
    return RefusalError(307, "Temporary Redirect", Location=location)
