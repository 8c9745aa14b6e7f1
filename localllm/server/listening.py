"""Opens the port that the server listens on."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from localllm.errors import ServerError
from localllm.server.settings import ServerSettings, addresses

_BACKLOG = 2048


def listen(settings: ServerSettings) -> socket.socket:
    """Return a socket that listens where `settings` say; port 0 is a free one. Raise ServerError."""
    address = addresses(settings.host)[0]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two servers have one port
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((address, settings.port))
        opened.listen(_BACKLOG)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise _explained(error, settings) from None
    return opened


def url_of(opened: socket.socket) -> str:
    """Return the address of the API at an open port."""
    host, port = opened.getsockname()[:2]
    shown = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    return f"http://{shown}:{port}/v1"


def _explained(error: OSError, settings: ServerSettings) -> ServerError:
    if error.errno == errno.EADDRINUSE:
        return ServerError(
            f"port {settings.port} of {settings.host} is in use",
            hint="choose another one with `--port`; 0 takes any that is free",
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    hint = "ports below 1024 are the system's" if error.errno == errno.EACCES else None
    return ServerError(f"cannot listen on port {settings.port} of {settings.host}: {reason}", hint=hint)
