"""The hub's endpoints for writing, as huggingface_hub 2.4 calls them: repositories, branches, LFS, commits.

Large files go to the CDN's port first, in one piece or in parts, and are known by their hash from then on; a
commit then names them. A token that `users` knows may write below its own name and below `org`, unless it is
called `reader`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from tests.hub.answers import Answer, Call, json_answer
from tests.hub.repos import Blob, Commit, Repo

PART_BYTES = 1_000_000  # the hub's are 16 times as large and more
_WRITE = re.compile(
    r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<verb>preupload|commit|branch)/(?P<revision>[^/]+)"
)
_BATCH = re.compile(r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
_READER = "reader"


class UploadRefusalError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.answer = json_answer({"error": message}, **headers)
        self.answer.status = status


class Uploads:
    """What was sent: whole objects by sha256, and parts that wait for their end."""

    def __init__(self, repos: list[Repo], users: Mapping[str, str]) -> None:
        self.endpoint = ""
        self.cdn = ""
        self.objects: dict[str, Blob] = {}
        self.multipart_above_bytes = 3 * PART_BYTES
        self._repos = repos
        self._users = users
        self._parts: dict[str, dict[int, bytes]] = {}
        self._lock = threading.Lock()

    def answer(self, call: Call) -> Answer | None:
        """Answer a request of the hub's port that writes; None for any other."""
        if call.method != "POST":
            return None
        try:
            if call.raw_path == "/api/repos/create":
                return self._create(call)
            if call.raw_path == "/api/validate-yaml":
                return json_answer({"errors": [], "warnings": []})
            if call.raw_path.startswith("/api/lfs/"):
                return self._finish(call)
            if match := _BATCH.fullmatch(call.raw_path):
                self._writable(call, match["repo"])
                return self._batch(json.loads(call.body))
            if match := _WRITE.fullmatch(call.raw_path):
                repo = self._writable(call, match["repo"])
                verbs: dict[str, Callable[[Call, Repo, str], Answer]] = {
                    "preupload": self._preupload,
                    "commit": self._commit,
                    "branch": self._branch,
                }
                return verbs[match["verb"]](call, repo, unquote(match["revision"]))
        except UploadRefusalError as refusal:
            return refusal.answer
        return None

    def take(self, call: Call) -> Answer:
        """Take what is put to the CDN's port."""
        path = unquote(call.raw_path)
        oid, _, number = path.removeprefix("/upload/").partition("/")
        with self._lock:
            if number:
                self._parts.setdefault(oid, {})[int(number)] = call.body
            elif hashlib.sha256(call.body).hexdigest() != oid:
                return Answer(
                    400, b"<Error><Code>BadDigest</Code></Error>", {"Content-Type": "application/xml"}
                )
            else:
                self.objects[oid] = Blob(call.body)
        return Answer(200, b"", {"ETag": f'"{hashlib.md5(call.body).hexdigest()}"'})

    # who may write ---------------------------------------------------------------------------

    def _user(self, call: Call) -> str:
        name = self._users.get(call.token or "")
        if name is None:
            raise UploadRefusalError(401, "Invalid username or password.")
        return name

    def _require_namespace(self, call: Call, namespace: str) -> None:
        name = self._user(call)
        if name == _READER or namespace not in (name, "org"):
            raise UploadRefusalError(403, f'You don\'t have the rights to write to "{namespace}"')

    def _writable(self, call: Call, name: str) -> Repo:
        repo = next((each for each in self._repos if each.name == unquote(name)), None)
        if repo is None:
            raise UploadRefusalError(404, "Repository not found", "RepoNotFound")
        self._require_namespace(call, repo.name.partition("/")[0])
        return repo

    # endpoints -------------------------------------------------------------------------------

    def _create(self, call: Call) -> Answer:
        asked = json.loads(call.body)
        namespace = asked.get("organization") or self._user(call)
        name = f"{namespace}/{asked['name']}"
        if any(repo.name == name for repo in self._repos):
            refusal = UploadRefusalError(409, "You already created this model repo")
            refusal.answer.body = json.dumps(
                {"error": str(refusal), "url": f"{self.endpoint}/{name}"}
            ).encode()
            raise refusal
        self._require_namespace(call, namespace)
        private = asked.get("visibility") == "private" or asked.get("private") is True
        files = {".gitattributes": b"*.gguf filter=lfs diff=lfs merge=lfs -text\n"}
        self._repos.append(Repo(name, files, private=private, tokens=[str(call.token)]))
        return json_answer({"url": f"{self.endpoint}/{name}", "name": name, "id": "0" * 24})

    def _branch(self, call: Call, repo: Repo, branch: str) -> Answer:
        if branch in repo.branches:
            raise UploadRefusalError(409, f"Reference already exists: {branch}")
        repo.branch(branch, json.loads(call.body or b"{}").get("startingPoint", "main"))
        return json_answer({})

    def _preupload(self, call: Call, repo: Repo, revision: str) -> Answer:
        commit = _commit_at(repo, revision)
        entries = repo.entries(commit)
        files = []
        for asked in json.loads(call.body)["files"]:
            path = asked["path"]
            is_lfs = repo.stores_as_lfs(path, asked["size"])
            entry = entries.get(path)
            oid = None if entry is None else entry.etag
            mode = "lfs" if is_lfs else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return json_answer({"files": files, "commitOid": commit.id})

    def _batch(self, asked: Mapping[str, Any]) -> Answer:
        objects = [self._object(each["oid"], each["size"]) for each in asked["objects"]]
        return json_answer({"transfer": "basic", "objects": objects})

    def _object(self, oid: str, size: int) -> dict[str, Any]:
        if oid in self.objects or any(self._has(repo, oid) for repo in self._repos):
            return {"oid": oid, "size": size}
        verify = {"href": f"{self.endpoint}/api/lfs/verify"}
        if size <= self.multipart_above_bytes:
            return {
                "oid": oid,
                "size": size,
                "actions": {"upload": {"href": f"{self.cdn}/upload/{oid}"}, "verify": verify},
            }
        count = -(-size // PART_BYTES)
        parts = {str(number): f"{self.cdn}/upload/{oid}/{number}" for number in range(1, count + 1)}
        header = {"chunk_size": str(PART_BYTES), **parts}
        complete = {"href": f"{self.endpoint}/api/lfs/complete?oid={oid}", "header": header}
        return {"oid": oid, "size": size, "actions": {"upload": complete, "verify": verify}}

    def _has(self, repo: Repo, oid: str) -> bool:
        commit = repo.resolve("main")
        return commit is not None and any(
            entry.is_lfs and entry.lfs_sha256 == oid for entry in repo.entries(commit).values()
        )

    def _finish(self, call: Call) -> Answer:
        """Put the parts of an object together, or tell whether an object is there."""
        asked = json.loads(call.body)
        oid = asked["oid"]
        if call.raw_path == "/api/lfs/complete":
            with self._lock:
                parts = self._parts.pop(oid, {})
                data = b"".join(parts[number] for number in sorted(parts))
                named = [part["partNumber"] for part in asked["parts"]]
                if named != sorted(parts) or hashlib.sha256(data).hexdigest() != oid:
                    raise UploadRefusalError(400, "the parts do not make the object")
                self.objects[oid] = Blob(data)
        elif oid not in self.objects:
            raise UploadRefusalError(404, "Object not found")
        return json_answer({})

    def _commit(self, call: Call, repo: Repo, revision: str) -> Answer:
        lines = [json.loads(line) for line in call.body.splitlines()]
        changes: dict[str, Any] = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    raise UploadRefusalError(400, f"LFS object {value['oid']} is missing")
                changes[value["path"]] = self.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                changes[value["path"]] = None
        _commit_at(repo, revision)
        commit = repo.commit(changes, branch=revision, title=lines[0]["value"]["summary"])
        url = f"{self.endpoint}/{repo.name}/commit/{commit}"
        return json_answer({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})


def _commit_at(repo: Repo, revision: str) -> Commit:
    commit = repo.resolve(revision)
    if commit is None:
        raise UploadRefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return commit
