"""The demo model at a few levels, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.conversion.convert import convert
from localllm.pipeline import quantize_model
from localllm.quantization.levels import parse_levels
from localllm.store import shipped_checkpoint


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo model as GGUF files by level: BF16, Q2_K, Q4_K_M and Q8_0; not to be changed."""
    checkpoint = shipped_checkpoint("demo")
    assert checkpoint is not None
    directory = tmp_path_factory.mktemp("demo")
    source = convert(checkpoint, output=directory / "demo-BF16.gguf").path
    levels = parse_levels(["Q2_K,Q4_K_M,Q8_0"])
    targets = [(level, directory / f"demo-{level.name}.gguf") for level in levels]
    quantize_model(source, targets)
    return {"BF16": source, **{level.name: path for level, path in targets}}
