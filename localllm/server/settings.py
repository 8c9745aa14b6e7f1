"""What the server is told when it starts: where it listens, to whom, how much it takes."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass, field

from localllm.errors import ServerError, UsageError
from localllm.server.keys import VARIABLE, Keys

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
DEFAULT_MAX_BODY_BYTES = 4_000_000
DEFAULT_GRACE_SECONDS = 10.0
MAX_HEADER_BYTES = 32 * 1024
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#@]+")


@dataclass(frozen=True)
class ServerSettings:
    """Where to listen and whom to answer.

    `allowed_hosts` are names, beside those of this machine, that a request may use for the server;
    `allowed_origins` web pages (scheme, host, port) that may ask it from a browser, "*" for all. Sizes in
    bytes, times in seconds. Raise UsageError for what is out of range, and for an address that others can
    reach without a key.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    keys: Keys = field(default_factory=Keys)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    logs_requests: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port must be between 0 and 65535, not {self.port}")
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"`{origin}` is no origin", hint="write it like `http://localhost:3000`, without a path"
                )
        if not (self.keys or self.is_loopback):
            raise UsageError(
                f"other machines can reach {self.host}: the server needs a key there",
                hint=f"give one with `--api-key-file FILE` or the variable {VARIABLE}",
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server. Raise ServerError for a host that is none."""
        return all(ipaddress.ip_address(address).is_loopback for address in addresses(self.host))


def addresses(host: str) -> list[str]:
    """Return the addresses that a host to listen on stands for, IPv4 first. Raise ServerError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no such name"
        raise ServerError(f"cannot listen on `{host}`: {reason}") from None
    ordered = sorted(found, key=lambda entry: entry[0] is not socket.AF_INET)
    return [str(entry[4][0]).partition("%")[0] for entry in ordered]
