"""What is inspected: the demo as it ships, and as the files localllm makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.conversion.convert import convert
from localllm.conversion.lora import convert_adapter
from localllm.imatrix import builtin_text, collect_imatrix
from localllm.pipeline import quantize_model
from localllm.quantization.levels import parse_levels
from localllm.store import DEMO, DEMO_PERSONA, shipped_checkpoint


@pytest.fixture(scope="session")
def demo_checkpoint() -> Path:
    checkpoint = shipped_checkpoint(DEMO)
    assert checkpoint is not None
    return checkpoint


@pytest.fixture(scope="session")
def demo_adapter() -> Path:
    adapter = shipped_checkpoint(DEMO_PERSONA)
    assert adapter is not None
    return adapter


@pytest.fixture(scope="session")
def made(demo_checkpoint: Path, demo_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with demo-Q4_K_M, demo-Q8_0, adapter, demo-imatrix, and split in four parts."""
    directory = tmp_path_factory.mktemp("made")
    names = {level.name: level for level in parse_levels(["Q4_K_M", "Q8_0"])}
    quantize_model(
        demo_checkpoint, [(level, directory / f"demo-{name}.gguf") for name, level in names.items()]
    )
    convert(demo_checkpoint, output=directory / "split.gguf", split_max_bytes=2_000_000)
    convert_adapter(demo_adapter, demo_checkpoint, output=directory / "adapter.gguf")
    collect_imatrix(
        directory / "demo-Q8_0.gguf",
        [builtin_text()],
        output=directory / "demo-imatrix.gguf",
        max_chunks=2,
    )
    return directory


@pytest.fixture(scope="session")
def demo_gguf(made: Path) -> Path:
    return made / "demo-Q8_0.gguf"
