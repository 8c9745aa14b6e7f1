"""Models for the command tests, made once: the demo at a few levels, and a larger random one."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.conversion.convert import convert
from localllm.pipeline import quantize_model
from localllm.quantization.levels import parse_levels
from localllm.store import shipped_checkpoint


@pytest.fixture(scope="session")
def demo_checkpoint() -> Path:
    checkpoint = shipped_checkpoint("demo")
    assert checkpoint is not None
    return checkpoint


@pytest.fixture(scope="session")
def demo_files(demo_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo model as GGUF files by level: BF16, Q2_K and Q8_0."""
    directory = tmp_path_factory.mktemp("demo")
    source = convert(demo_checkpoint, output=directory / "demo-BF16.gguf").path
    targets = [(level, directory / f"demo-{level.name}.gguf") for level in parse_levels(["Q2_K,Q8_0"])]
    quantize_model(source, targets)
    return {"BF16": source, **{level.name: path for level, path in targets}}
