"""From the command line to a running server: what it says when it has started, and how it ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from localllm.batching import BatchedEngine
from localllm.cli.output import Output
from localllm.engine import EngineOptions
from localllm.server.running import Started, serve
from localllm.server.settings import ServerSettings
from localllm.verbs.load import load_batched

_INTERRUPTED = 130
_SEVERAL_KEEP_ALIVE_SECONDS = 300.0


def hold(
    out: Output,
    models: Sequence[str],
    settings: ServerSettings,
    options: EngineOptions,
    *,
    parallel: int,
    queue: int,
    keep_alive_seconds: float | None,
) -> int:
    """Serve `models` until a signal ends it, and return the exit status. Raise what `serve` raises."""

    def open_engine(model: str) -> BatchedEngine:
        return load_batched(model, options=options, parallel=parallel, queue=queue, emit=out.emit)

    def started(server: Started) -> None:
        out.data(server)
        key = ", with a key" if server.needs_key else ""
        out.text(f"serving {', '.join(server.models)} at {server.url}{key}; Ctrl-C ends it")
        sys.stdout.flush()  # whoever started this waits for the address

    ended_by = serve(
        models, open_engine, settings, keep_alive_seconds=_kept(keep_alive_seconds, models), started=started
    )
    return _INTERRUPTED if ended_by is signal.SIGINT else 0


def _kept(seconds: float | None, models: Sequence[str]) -> float | None:
    """Return how long models stay: one alone for ever unless told otherwise."""
    if seconds is None:
        return _SEVERAL_KEEP_ALIVE_SECONDS if len(models) > 1 else None
    return None if seconds == float("inf") else seconds
