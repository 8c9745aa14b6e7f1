"""Which names a request may call the server by: the defence against DNS rebinding.

A web page can have its own name point to this machine, and then ask the server as if it were the page's own.
Such a request carries that name. Addresses, and the names a machine has for itself, cannot be pointed here.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from localllm.server.settings import ServerSettings

_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:\s/@]+))(?::\d{1,5})?")


class HostNames:
    """The names the server goes by."""

    def __init__(self, settings: ServerSettings) -> None:
        self._only_loopback = settings.is_loopback
        own = () if self._only_loopback else (socket.gethostname(), socket.getfqdn())
        self._names = {_plain(name) for name in (*settings.allowed_hosts, settings.host, "localhost", *own)}

    def include(self, header: str) -> bool:
        """Return whether the value of a Host header is one of them, with or without a port."""
        match = _HOST.fullmatch(header)
        if match is None:
            return False
        name = _plain(match["six"] or match["name"])
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._only_loopback


def _plain(name: str) -> str:
    return name.lower().rstrip(".")
