"""Runs the server until a signal ends it: what it is working on may be finished within a time of grace."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType

import uvicorn

from localllm.server.application import application
from localllm.server.catalogue import Catalogue
from localllm.server.engines import OpenEngine
from localllm.server.listening import listen, url_of
from localllm.server.protocol import Protocol
from localllm.server.settings import MAX_HEADER_BYTES, ServerSettings

_THREADS = 16  # for prompts and embeddings, which wait more than they work
_IDLE_SECONDS = 75  # longer than clients keep a connection, which would find it closed otherwise
_LAST_SECONDS = 2  # to send what was finished in the last moment
_SWITCH_SECONDS = 0.001  # the engine's thread should not wait long for its turn behind a native call


@dataclass(frozen=True)
class Started:
    """A server that listens: `url` is what clients are given, `needs_key` whether they need a key as well."""

    url: str
    port: int
    models: tuple[str, ...]
    needs_key: bool


def serve(
    models: Sequence[str],
    open_engine: OpenEngine,
    settings: ServerSettings,
    *,
    keep_alive_seconds: float | None = None,
    started: Callable[[Started], None],
) -> signal.Signals:
    """Serve `models` until SIGINT or SIGTERM comes, and return which of them it was.

    One model alone is loaded at once, several when they are first asked for. `started` is called when the
    server listens. Raise ServerError when it cannot, UsageError, what loading raises.
    """
    catalogue = Catalogue(models, open_engine, keep_alive_seconds)
    app = application(catalogue, settings)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=int(settings.grace_seconds) + _LAST_SECONDS,
    )
    with listen(settings) as opened:
        if len(models) == 1:
            catalogue.models[0].engine = open_engine(models[0])
        _log_to_stderr(logs_requests=settings.logs_requests)
        sys.setswitchinterval(_SWITCH_SECONDS)
        server = _Server(config, catalogue, settings.grace_seconds)
        told = Started(url_of(opened), opened.getsockname()[1], tuple(models), needs_key=bool(settings.keys))
        asyncio.run(_run(server, opened, lambda: started(told)))
    return server.ended_by


async def _run(server: _Server, opened: socket.socket, started: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "request"))
    started()
    await server.serve(sockets=[opened])


class _Server(uvicorn.Server):
    """Ends its engines together with its connections."""

    def __init__(self, config: uvicorn.Config, catalogue: Catalogue, grace_seconds: float) -> None:
        super().__init__(config)
        self.ended_by = signal.SIGTERM
        self._catalogue = catalogue
        self._grace_seconds = grace_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End the server; a second signal ends the time of grace."""
        if not self.should_exit:
            self.ended_by = signal.Signals(sig)
            self.should_exit = True
        else:
            self.force_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        closing = asyncio.create_task(self._catalogue.close(self._grace_seconds))
        await super().shutdown(sockets)
        if self.force_exit:
            logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # it tells of every answer that is cut
            for task in self.server_state.tasks:
                task.cancel()
        await closing


def _log_to_stderr(*, logs_requests: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name, level in (
        ("localllm.server", logging.INFO if logs_requests else logging.ERROR),
        ("uvicorn", logging.ERROR),
        ("asyncio", logging.ERROR),  # warns of every client that left in the middle of an answer
    ):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
