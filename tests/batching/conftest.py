"""Engines that the tests share, and the models they run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localllm.batching import BatchedEngine
from localllm.engine import EngineOptions, LlamaEngine
from tests.batching.asking import ROOMY
from tests.engine.conftest import bpe_path as bpe_path
from tests.engine.conftest import demo_path as demo_path
from tests.engine.conftest import spm_path as spm_path
from tests.engine.tiny_models import build_hybrid, build_mamba, build_windowed


@pytest.fixture
def engine(demo_path: Path) -> Iterator[BatchedEngine]:
    with BatchedEngine(demo_path, ROOMY, parallel=4) as engine:
        yield engine


@pytest.fixture(scope="module")
def alone(demo_path: Path) -> Iterator[LlamaEngine]:
    """The engine of the chat, for one request at a time."""
    with LlamaEngine(demo_path) as engine:
        yield engine


@pytest.fixture(scope="module", params=["windowed", "mamba", "hybrid"])
def special_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that does not simply keep everything."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "windowed":
        return build_windowed(directory)
    build = build_mamba if request.param == "mamba" else build_hybrid
    return build(directory / "model.gguf")


@pytest.fixture
def two_slots(special_path: Path) -> Iterator[BatchedEngine]:
    with BatchedEngine(special_path, EngineOptions(context=512), parallel=2) as engine:
        yield engine
