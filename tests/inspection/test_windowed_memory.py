"""Models whose layers differ in heads, windows and whose keys they use, at short and long contexts."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.gguf_file import GGUFHeader, read_header
from localllm.inspection.dimensions import dimensions_of
from localllm.inspection.storage import active_parameters
from localllm.memory import footprint_of
from tests.conversion.published import write_published_gguf
from tests.inspection.measuring import measure
from tests.inspection.test_memory import ROUNDING

CONTEXTS = [300, 8192, 131_072]


@pytest.mark.parametrize("kind", ["F16", "Q8_0"])
@pytest.mark.parametrize("name", ["gemma-4-E2B", "gemma-4-26B-A4B", "gemma-4-31B"])
def test_caches_and_buffers_are_what_llama_cpp_reports(name: str, kind: str, tmp_path: Path) -> None:
    path = write_published_gguf(tmp_path / "model.gguf", name)
    footprint = footprint_of(read_header(path))
    assert footprint is not None
    for context, found in zip(CONTEXTS, measure(path, CONTEXTS, cache=kind), strict=True):
        assert footprint.cache_bytes(context, kind) == pytest.approx(found["cache"], abs=ROUNDING)
        assert footprint.buffer_bytes(context) == pytest.approx(found["compute"], rel=0.11)


def test_what_works_on_a_token(tmp_path: Path) -> None:
    """Of the embeddings for each layer that is one row; of the experts those that are used."""
    e2b = _header(tmp_path, "gemma-4-E2B")
    assert active_parameters(e2b) == e2b.parameters - 35 * 256 * (262_144 - 1)
    moe = _header(tmp_path, "gemma-4-26B-A4B")
    each = 3 * 704 * 2816 + 1  # its matrices and its scale
    assert active_parameters(moe) == moe.parameters - 30 * 120 * each
    assert active_parameters(_header(tmp_path, "gemma-4-31B")) is None


def test_what_is_said_of_layers_that_differ(tmp_path: Path) -> None:
    found = dimensions_of(_header(tmp_path, "gemma-4-E2B"), None)
    assert (found.key_length, found.windowed_key_length, found.shared_kv_layers) == (512, 256, 20)
    assert found.feed_forward_length == (6144, 12_288)
    other = dimensions_of(_header(tmp_path, "gemma-4-31B"), None)
    assert (other.kv_heads, other.shared_kv_layers) == ((4, 16), None)


def _header(directory: Path, name: str) -> GGUFHeader:
    return read_header(write_published_gguf(directory / f"{name}.gguf", name))
