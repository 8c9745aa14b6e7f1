"""Models of published sizes as llama.cpp loads them: latent attention, states alone, Granite's experts."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.gguf_file import read_header
from localllm.gguf_file.preflight import require_loadable
from localllm.inspection.dimensions import dimensions_of
from localllm.inspection.storage import active_parameters
from localllm.memory import footprint_of
from tests.conversion.published import CONFIGS, write_published_gguf
from tests.inspection.measuring import measure

ROUNDING = 0.02 * 1024 * 1024  # llama.cpp prints hundredths of a MiB, of two caches at most
CONTEXTS = (4096, 32_768)


@pytest.mark.parametrize("name", CONFIGS)
def test_caches_are_what_llama_cpp_reports_and_buffers_nearly(name: str, tmp_path: Path) -> None:
    """That it loads them proves the keys and shapes of our tables at sizes no tiny model has."""
    path = write_published_gguf(tmp_path / "model.gguf", name)
    header = read_header(path)
    require_loadable(header, name, to_run=False)
    footprint = footprint_of(header)
    assert footprint is not None
    for context, found in zip(CONTEXTS, measure(path, list(CONTEXTS)), strict=True):
        assert footprint.cache_bytes(context) == pytest.approx(found["cache"], abs=ROUNDING)
        assert footprint.buffer_bytes(context) == pytest.approx(found["compute"], rel=0.14)


def test_latent_attention_keeps_a_seventieth_of_what_heads_would(tmp_path: Path) -> None:
    """A token of DeepSeek-V3 is 576 numbers in each of 61 layers; 128 heads of 192 and 128 were 40,960."""
    footprint = footprint_of(read_header(write_published_gguf(tmp_path / "model.gguf", "DeepSeek-V3")))
    assert footprint is not None
    assert footprint.cache_bytes(4096) == 2 * 4096 * 61 * 576


def test_states_do_not_grow(tmp_path: Path) -> None:
    """Of each of 64 layers: 128 numbers for each of 8,192 channels, and 3 tokens of 10,240 to convolve."""
    footprint = footprint_of(read_header(write_published_gguf(tmp_path / "model.gguf", "Mamba-Codestral-7B")))
    assert footprint is not None
    assert footprint.cache_bytes(512) == footprint.cache_bytes(2**20) == 4 * 64 * (128 * 8192 + 3 * 10_240)


def test_heads_are_described_as_they_are_and_what_is_kept_of_them(tmp_path: Path) -> None:
    header = read_header(write_published_gguf(tmp_path / "model.gguf", "DeepSeek-V2-Lite"))
    found = dimensions_of(header, footprint_of(header))
    assert (found.heads, found.key_length, found.value_length, found.latent_length) == ((16,), 192, 128, 576)
    idle = 26 * (64 - 6) * 3 * 2048 * 1408  # experts that a token does not go through
    assert active_parameters(header) == 15_706_484_224 - idle
