"""What a model on a server is called: `http://127.0.0.1:8080/v1#NAME` (pure)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from localllm.errors import UsageError

_SCHEMES = ("http", "https")
_MARK = "#"
_DEFAULT_PATH = "/v1"


@dataclass(frozen=True)
class RemoteModel:
    """A model called `name` of the server at `base`, an address without a slash at its end."""

    base: str
    name: str

    @classmethod
    def parse(cls, text: str) -> RemoteModel:
        """Read `BASE#NAME`. Raise UsageError."""
        base, _, name = text.partition(_MARK)
        if not name:
            raise UsageError(f"`{text}` names no model of the server", hint=f"write it like `{base}#NAME`")
        return cls(api_base(base), name)

    def __str__(self) -> str:
        return f"{self.base}{_MARK}{self.name}"

    @property
    def host(self) -> str:
        """Return the server's name and port."""
        return urlsplit(self.base).netloc

    @property
    def root(self) -> str:
        """Return the address in front of the API, where servers have what is not part of it."""
        return self.base.removesuffix(_DEFAULT_PATH)

    @property
    def is_local(self) -> bool:
        """Tell whether the server is on this machine, so that nothing goes over a network."""
        name = urlsplit(self.base).hostname or ""
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return name == "localhost" or name.endswith(".localhost")

    @property
    def is_encrypted(self) -> bool:
        return urlsplit(self.base).scheme == "https"


def is_remote(reference: str) -> bool:
    """Tell whether a model reference is one of a server."""
    return _MARK in reference and reference.lower().startswith(tuple(f"{each}://" for each in _SCHEMES))


def api_base(text: str) -> str:
    """Return an API's address as it is used: with `/v1` where there is no path. Raise UsageError."""
    parts = urlsplit(text.strip())
    try:
        is_fit = parts.scheme in _SCHEMES and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        is_fit = False
    is_clean = text.strip().isprintable() and " " not in text.strip()
    if not is_fit or not is_clean or parts.query or parts.fragment:
        raise UsageError(
            f"`{text[:200]}` is not the address of an API", hint="write it like `http://127.0.0.1:8080/v1`"
        )
    if "@" in parts.netloc:
        raise UsageError(
            "an address with a name or password in it is not used: it would stand in saved conversations",
            hint="`--api-key-env VARIABLE` names the variable that holds the key",
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return urlunsplit((parts.scheme, parts.netloc.lower(), path or _DEFAULT_PATH, "", ""))
