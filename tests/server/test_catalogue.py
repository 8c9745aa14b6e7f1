"""Which models are in memory: loaded once for all who ask, kept while used, gone when nobody asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from localllm.errors import ModelLoadError, QueueFullError, UnavailableError, UsageError
from localllm.server.api_error import ApiError
from localllm.server.catalogue import Catalogue
from tests.server.double import DoubleEngine


class Opener:
    """Opens doubles and counts them; the first `failures` times it fails."""

    def __init__(self, failures: int = 0, seconds: float = 0.0) -> None:
        self.opened: list[DoubleEngine] = []
        self.failures = failures
        self.seconds = seconds

    def __call__(self, _: str) -> DoubleEngine:
        time.sleep(self.seconds)
        if self.failures:
            self.failures -= 1
            raise ModelLoadError("broken")
        self.opened.append(DoubleEngine())
        return self.opened[-1]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_a_model_is_loaded_once_for_all_who_wait() -> None:
    opener = Opener(seconds=0.05)
    catalogue = Catalogue(["m"], opener, None)

    async def ask() -> DoubleEngine:
        async with catalogue.use(catalogue.models[0]) as engine:
            return engine  # type: ignore[return-value]

    async def test() -> None:
        asked = [asyncio.create_task(ask()) for _ in range(5)]
        await asyncio.sleep(0.01)
        asked[0].cancel()  # the one who asked first leaves
        rest = await asyncio.gather(*asked[1:])
        assert len(opener.opened) == 1
        assert all(engine is opener.opened[0] for engine in rest)
        assert opener.opened[0].closed_with is None

    run(test)


def test_what_failed_to_load_is_tried_again() -> None:
    opener = Opener(failures=1)
    catalogue = Catalogue(["m"], opener, None)

    async def test() -> None:
        with pytest.raises(ModelLoadError):
            async with catalogue.use(catalogue.models[0]):
                pass
        async with catalogue.use(catalogue.models[0]) as engine:
            assert engine is opener.opened[0]

    run(test)


def test_it_leaves_when_nobody_asks_but_not_while_it_is_used() -> None:
    opener = Opener()
    catalogue = Catalogue(["m"], opener, 0.05)
    model = catalogue.models[0]

    async def test() -> None:
        async with catalogue.use(model):
            async with catalogue.use(model):
                pass
            await asyncio.sleep(0.1)
            assert opener.opened[0].closed_with is None
        await asyncio.sleep(0.2)
        assert opener.opened[0].closed_with == 0.0
        async with catalogue.use(model) as engine:
            assert engine is opener.opened[1]

    run(test)


def test_the_end_closes_everything_and_opens_nothing() -> None:
    opener = Opener()
    catalogue = Catalogue(["a", "b"], opener, 60)

    async def test() -> None:
        async with catalogue.use(catalogue.models[0]):
            pass
        await catalogue.close(3.0)
        assert [engine.closed_with for engine in opener.opened] == [3.0]
        with pytest.raises(ApiError) as raised:
            async with catalogue.use(catalogue.models[1]):
                pass
        assert raised.value.status == 503

    run(test)


def test_an_engine_that_broke_is_replaced() -> None:
    opener = Opener()
    catalogue = Catalogue(["m"], opener, None)
    model = catalogue.models[0]

    async def test() -> None:
        for refusal, count in ((QueueFullError("full"), 1), (UnavailableError("the engine broke"), 2)):
            with pytest.raises(type(refusal)):
                async with catalogue.use(model):
                    raise refusal
            async with catalogue.use(model) as engine:
                assert engine is opener.opened[-1]
            assert len(opener.opened) == count
        assert opener.opened[0].closed_with == 0.0

    run(test)


def test_names() -> None:
    catalogue = Catalogue(["demo:Q8_0", "./a/tiny-F32.gguf", "org/repo:Q4_K_M", "./b/plain"], Opener(), None)
    first, second, third, fourth = catalogue.models
    for name, model in (
        ("demo:Q8_0", first),
        ("demo", first),
        ("./a/tiny-F32.gguf", second),
        ("tiny-F32", second),
        ("org/repo", third),
        ("plain", fourth),
    ):
        assert catalogue.find(name) is model
    for wrong in (None, "", "Demo", "a/tiny-F32.gguf"):
        with pytest.raises(ApiError):
            catalogue.find(wrong)
    with pytest.raises(ApiError):
        Catalogue(["demo:Q8_0", "demo:Q4_K_M"], Opener(), None).find("demo")
    assert Catalogue(["m"], Opener(), None).find(None).name == "m"
    with pytest.raises(UsageError):
        Catalogue(["m", "m"], Opener(), None)
