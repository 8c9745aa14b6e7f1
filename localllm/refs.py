"""What `MODEL` means on the command line: a path, a name in the library, a hub repository or a web address.

`ModelRef.parse(str(ref)) == ref` for every reference. Parsing looks at the text only (and at HF_ENDPOINT, the
hub's address), never at the disk or the network; `store` and `hub` decide whether the thing exists.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from os import PathLike

from localllm.errors import UsageError

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_QUANT = re.compile(r"[A-Za-z0-9_]+")
_LIBRARY = re.compile(_NAME)
_HUB_LEVEL = re.compile(r"[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*")  # UD-Q4_K_XL
_HUB = re.compile(
    rf"(?P<repo>{_NAME}/{_NAME})(?:/(?P<file>[^@:]+\.[Gg][Gg][Uu][Ff]))?(?:@(?P<revision>[^:@\s]+))?"
)
_HUB_PREFIXES = ("hf.co/", "huggingface.co/", "https://hf.co/", "https://huggingface.co/", "hf:", "hf://")
_HUB_PAGE = re.compile(
    rf"(?P<repo>{_NAME}/{_NAME})/(?:resolve|blob|raw|tree)/(?P<revision>[^/@:]+)(?P<file>/[^?#]+)?(?:\?[^#]*)?"
)
_WEB = re.compile(r"https?://[^\s/]+/\S+", re.IGNORECASE)


Model = str | PathLike[str]  # a reference as a caller gives it


class RefKind(StrEnum):
    PATH = "path"
    LIBRARY = "library"
    HUB = "hub"
    URL = "url"


@dataclass(frozen=True)
class ModelRef:
    """A parsed model reference.

    `target` is the path, the library name, `org/repo` or the web address; `level` the quantization asked for
    in upper case; `revision` and `file` only exist for hub references.
    """

    kind: RefKind
    target: str
    level: str | None = None
    revision: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Parse what a user typed. Raise UsageError when it is empty or cannot mean anything."""
        if not text.strip():
            raise UsageError("the model reference is empty", hint="try `localllm list`")
        without_prefix = _without_hub_prefix(text)
        if without_prefix == text and _looks_like_path(text):
            return cls._parse_path(text)
        if without_prefix == text and _WEB.fullmatch(text):
            return cls(RefKind.URL, text)
        body, _, level = without_prefix.partition(":")
        match = _HUB.fullmatch(body)
        if level and not (_HUB_LEVEL if match else _QUANT).fullmatch(level):
            raise UsageError(
                f"`{level}` is not a quantization level",
                hint="write it like `my-finetune:Q4_K_M`",
            )
        wanted = level.upper() or None
        if match:
            return cls(RefKind.HUB, match["repo"], wanted, match["revision"], match["file"])
        if without_prefix != text:
            raise UsageError(f"`{text}` does not name a hub repository", hint="write it like `hf:org/repo`")
        if _LIBRARY.fullmatch(body):
            return cls(RefKind.LIBRARY, body, wanted)
        return cls(RefKind.PATH, text)

    @classmethod
    def _parse_path(cls, text: str) -> ModelRef:
        """Read `path` or `path:LEVEL`, where a drive letter's colon is part of the path."""
        head, colon, tail = text.rpartition(":")
        if colon and len(head) > 1 and _QUANT.fullmatch(tail):
            return cls(RefKind.PATH, head, tail.upper())
        return cls(RefKind.PATH, text)

    def __str__(self) -> str:
        file = f"/{self.file}" if self.file else ""
        revision = f"@{self.revision}" if self.revision else ""
        level = f":{self.level}" if self.level else ""
        text = f"{self.target}{file}{revision}{level}"
        return f"hf:{text}" if self.kind is RefKind.HUB and _looks_like_path(text) else text


def _looks_like_path(text: str) -> bool:
    """Tell whether `text` is written as a path: it starts like one or is a plain `.gguf` name."""
    separators = ("/", "\\") if os.sep == "\\" else ("/",)
    if text.startswith((".", "~", *separators)) or re.match(r"^[A-Za-z]:[\\/]", text):
        return True
    return text.lower().endswith(".gguf") and text.count("/") != 2 and "://" not in text


def _without_hub_prefix(text: str) -> str:
    """Return what follows the hub's name or address, a page's rewritten as `org/repo/file@revision`."""
    own = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    for prefix in (*_HUB_PREFIXES, *((f"{own}/",) if own else ())):
        if text.lower().startswith(prefix):
            rest = text[len(prefix) :].rstrip("/")
            page = _HUB_PAGE.fullmatch(rest)
            return rest if page is None else f"{page['repo']}{page['file'] or ''}@{page['revision']}"
    return text
