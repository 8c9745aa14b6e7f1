"""Models with a state, with windows, with experts, with one latent for all heads are compared as others."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.verbs.compare import compare
from tests.conversion.tiny_families import write_tiny_family

WORDS = "Mamba qwen gemma and others 0 1 2 3 walk into a bar, they say.\n"


@pytest.mark.parametrize("name", ["mamba2", "qwen3.5-moe", "granite4", "gemma4-ple", "deepseek3"])
def test_a_level_against_the_original(name: str, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(WORDS * 20)
    checkpoint = write_tiny_family(tmp_path / name, name)
    result = compare(
        [checkpoint],
        levels=["Q8_0"],
        texts=[text],
        max_chunks=3,
        context_size=64,
        speed=False,
        threads=1,
    )
    measured = {each.level: each for each in result.measurements}
    assert set(measured) == {"Q8_0", result.reference}
    level = measured["Q8_0"]
    assert level.error is None
    assert level.kl_divergence is not None
    assert 0 < level.kl_divergence.value < 0.1
    assert level.perplexity_ratio is not None
    assert abs(level.perplexity_ratio.value - 1) < 0.1
