"""The models that are served: by which names, and which of them are in memory."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import PurePath

from localllm.batching import Load, Totals
from localllm.errors import QueueFullError, UnavailableError, UsageError
from localllm.refs import ModelRef, RefKind
from localllm.server.api_error import ApiError, shutting_down
from localllm.server.engines import Engine, OpenEngine

_MOST_SHOWN = 5


class Served:
    """One model: `name` is what the user called it, `engine` there while it is in memory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.engine: Engine | None = None
        self.since = int(time.time())  # when the server began to offer it, in Unix time
        self.users = 0
        self.loading: asyncio.Task[Engine] | None = None
        self.unloading: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self._past = Totals()

    @property
    def load(self) -> Load | None:
        """Return what its engine is doing."""
        return None if self.engine is None else self.engine.load

    @property
    def totals(self) -> Totals:
        """Return what all its engines did."""
        return self._past if self.engine is None else self._past + self.engine.load.totals

    def take_engine(self) -> Engine | None:
        """Return the engine, which is its no longer."""
        self._past = self.totals
        engine, self.engine = self.engine, None
        return engine

    @property
    def aliases(self) -> Iterator[str]:
        """Yield other names: without the level, and of a file its own, without directory and suffix."""
        ref = ModelRef.parse(self.name)
        if ref.kind is RefKind.PATH:
            yield PurePath(ref.target).name
            yield PurePath(ref.target).stem
        elif ref.level is not None:
            yield ref.target


class Catalogue:
    """Models by name, loaded when they are first asked for.

    They leave when nobody asked for `keep_alive_seconds`; None keeps them. Raise UsageError for the same name
    twice.
    """

    def __init__(
        self, names: Sequence[str], open_engine: OpenEngine, keep_alive_seconds: float | None
    ) -> None:
        self.models = [Served(name) for name in names]
        self._open = open_engine
        self._keep_alive_seconds = keep_alive_seconds
        self._is_closing = False
        self._by_name = {model.name: model for model in self.models}
        if len(self._by_name) < len(names):
            raise UsageError("the same model is named twice", hint="name each model once")
        found = [(alias, model) for model in self.models for alias in set(model.aliases)]
        counts = Counter(alias for alias, _ in found)  # one that two have is the name of neither
        for alias, model in found:
            if counts[alias] == 1:
                self._by_name.setdefault(alias, model)

    def find(self, name: str | None) -> Served:
        """Return the model that a request names; where there is one only, it need not. Raise ApiError."""
        if name is None and len(self.models) == 1:
            return self.models[0]
        if name is None:
            raise ApiError(400, "`model` is missing", param="model", code="missing_required_parameter")
        if name not in self._by_name:
            known = ", ".join(f"`{model.name}`" for model in self.models[:_MOST_SHOWN])
            more = ", …" if len(self.models) > _MOST_SHOWN else ""
            raise ApiError(
                404,
                f"there is no model `{name[:100]}`; this server has {known}{more}",
                param="model",
                code="model_not_found",
            )
        return self._by_name[name]

    @asynccontextmanager
    async def use(self, model: Served) -> AsyncIterator[Engine]:
        """Yield the engine of `model`, loaded if it was not; it stays at least as long as it is used.

        Raise what loading raises, ApiError when the server is ending.
        """
        if self._is_closing:
            raise shutting_down()
        model.users += 1
        if model.timer is not None:
            model.timer.cancel()
        try:
            yield await self._loaded(model)
        except QueueFullError:
            raise
        except UnavailableError:  # it broke, for no one else has ended it
            self._begin_unloading(model)
            raise
        finally:
            model.users -= 1
            self._schedule_unloading(model)

    async def close(self, grace_seconds: float) -> None:
        """End all engines; what they are working on may take `grace_seconds` more."""
        self._is_closing = True
        await asyncio.gather(
            *(self._unload(model, grace_seconds) for model in self.models), return_exceptions=True
        )

    async def _loaded(self, model: Served) -> Engine:
        if model.unloading is not None:
            await asyncio.shield(model.unloading)
        if model.engine is not None:
            return model.engine
        if model.loading is None:
            model.loading = asyncio.create_task(self._load(model))
        return await asyncio.shield(model.loading)  # whoever asked may leave; the others still wait

    async def _load(self, model: Served) -> Engine:
        try:
            model.engine = await asyncio.to_thread(self._open, model.name)
            return model.engine
        finally:
            model.loading = None

    def _schedule_unloading(self, model: Served) -> None:
        if model.users or self._keep_alive_seconds is None or self._is_closing:
            return
        loop = asyncio.get_running_loop()
        model.timer = loop.call_later(self._keep_alive_seconds, self._unload_idle, model)

    def _unload_idle(self, model: Served) -> None:
        if not model.users:
            self._begin_unloading(model)

    def _begin_unloading(self, model: Served) -> None:
        if model.unloading is None and not self._is_closing:
            model.unloading = asyncio.create_task(self._unload(model, 0.0))

    async def _unload(self, model: Served, grace_seconds: float) -> None:
        if model.loading is not None:
            await asyncio.wait([model.loading])
        engine = model.take_engine()
        try:
            if engine is not None:
                await asyncio.to_thread(engine.close, grace_seconds)
        finally:
            model.unloading = None
