"""The port that large files come from: signed addresses, and plain files for any other address."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from urllib.parse import unquote

from tests.hub.answers import Answer, Call, FileAnswer
from tests.hub.repos import Blob
from tests.hub.uploads import Uploads


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


class CdnApi:
    """Answers of the CDN's port: signed addresses of large files, and plain files for any other address."""

    def __init__(self, files: Mapping[str, Blob], signatures: Signatures, uploads: Uploads) -> None:
        self.files = dict(files)
        self._signatures = signatures
        self._uploads = uploads

    def answer(self, call: Call) -> Answer | FileAnswer:
        if "authorization" in call.headers:
            return _xml_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        path = unquote(call.raw_path)
        if call.method == "PUT":
            return self._uploads.take(call)
        if path.startswith("/files/"):
            blob = self.files.get(path.removeprefix("/files/"))
            if blob is None:
                return Answer(404, b"Not Found", {"Content-Type": "text/plain"})
        else:
            blob = self._signatures.redeem(path, call.query.get("Signature", [None])[0])
            if blob is None:
                return _xml_error(403, "AccessDenied", "Access Denied")
        return FileAnswer(blob, f'"{blob.storage_tag}"', {"Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"})


def _xml_error(status: int, code: str, message: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})
