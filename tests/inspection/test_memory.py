"""What running a model takes: caches to the byte and buffers nearly as llama.cpp itself reports them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from localllm.gguf_file import read_header
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import TypedValue, array, uint32
from localllm.memory import Footprint, LayerMemory, cache_bytes, footprint_of, layers_of, running_bytes
from tests.inspection.headers import header, model
from tests.inspection.measuring import measure
from tests.inspection.shaped_gguf import SHAPES, write_shaped_gguf
from tests.tiny_gguf import build_tiny_gguf

MIB = 1024 * 1024
ROUNDING = 0.02 * MIB  # llama.cpp prints hundredths of a MiB, of two caches at most
BUFFER_ERROR = 0.06


@pytest.mark.parametrize("kind", ["F16", "Q8_0"])
@pytest.mark.parametrize("name", SHAPES)
def test_caches_and_buffers_are_what_llama_cpp_reports(name: str, kind: str, tmp_path: Path) -> None:
    shape = SHAPES[name]
    path = write_shaped_gguf(tmp_path / "model.gguf", shape)
    footprint = footprint_of(read_header(path))
    assert footprint is not None
    contexts = [context for context in (300, 1024, 8192, 131_072) if context <= shape.context]
    for context, found in zip(contexts, measure(path, contexts, cache=kind), strict=True):
        assert footprint.cache_bytes(context, kind) == pytest.approx(found["cache"], abs=ROUNDING)
        assert footprint.buffer_bytes(context) == pytest.approx(found["compute"], rel=BUFFER_ERROR)


def test_the_demo_as_llama_cpp_reports_it(demo_gguf: Path) -> None:
    footprint = footprint_of(read_header(demo_gguf))
    assert footprint is not None
    for context, found in zip((256, 1024), measure(demo_gguf, [256, 1024]), strict=True):
        assert footprint.cache_bytes(context) == pytest.approx(found["cache"], abs=ROUNDING)
        assert footprint.buffer_bytes(context) == pytest.approx(found["compute"], rel=0.1, abs=0.2 * MIB)


def test_a_tiny_model_as_llama_cpp_reports_it(tiny_gguf: Path) -> None:
    footprint = footprint_of(read_header(tiny_gguf))
    assert footprint is not None
    (found,) = measure(tiny_gguf, [256])
    assert footprint.cache_bytes(256) == pytest.approx(found["cache"], abs=ROUNDING)
    assert footprint.buffer_bytes(256) == pytest.approx(found["compute"], abs=MIB)


@pytest.mark.parametrize("period", [3, 0])
def test_a_pattern_in_the_file_counts(period: int, tmp_path: Path) -> None:
    """Both spellings: every how many layers, and layer by layer."""
    gemma = SHAPES["gemma-3-4b"]
    flags = [period == 0 or index % period != period - 1 for index in range(gemma.layers)]
    patterns: Mapping[str, TypedValue] = {
        "number": uint32(period),
        "flags": array(ValueType.BOOL, flags),
    }
    estimates = []
    for name, pattern in patterns.items():
        changed = {**gemma.extra, "attention.sliding_window_pattern": pattern}
        path = write_shaped_gguf(tmp_path / f"{name}.gguf", replace(gemma, extra=changed))
        (found,) = measure(path, [16_384])
        estimate = cache_bytes(read_header(path), 16_384)
        assert estimate == pytest.approx(found["cache"], abs=ROUNDING)
        estimates.append(estimate)
    assert estimates[0] == estimates[1]


def test_a_window_that_llama_cpp_does_not_use_saves_nothing(tmp_path: Path) -> None:
    """Mistral's first model names a sliding window; llama.cpp keeps all tokens of `llama` models."""
    shape = replace(SHAPES["llama-3-8b"], extra={"attention.sliding_window": uint32(4096)})
    path = write_shaped_gguf(tmp_path / "model.gguf", shape)
    (found,) = measure(path, [32_768])
    assert cache_bytes(read_header(path), 32_768) == pytest.approx(found["cache"], abs=ROUNDING)


def test_layers_that_keep_nothing_of_their_own() -> None:
    extra = {"llama.nextn_predict_layers": uint32(1)}
    layers = layers_of(model(extra, layers=3))
    assert layers is not None
    assert [layer.keys for layer in layers] == [32, 32, 0]
    shared = layers_of(
        model({"gemma4.attention.shared_kv_layers": uint32(2)}, architecture="gemma4", layers=3)
    )
    assert shared is not None
    assert [layer.keys for layer in shared] == [32, 0, 0]


def test_latent_attention_keeps_no_values() -> None:
    extra = {
        "deepseek2.attention.key_length": uint32(576),
        "deepseek2.attention.value_length": uint32(512),
        "deepseek2.attention.key_length_mla": uint32(192),
    }
    layers = layers_of(model(extra, architecture="deepseek2", kv_heads=1))
    assert layers == (LayerMemory(keys=576), LayerMemory(keys=576))


def test_a_hybrid_attends_where_it_has_heads() -> None:
    extra = {
        "jamba.attention.head_count_kv": array(ValueType.UINT32, [0, 2]),
        "jamba.ssm.conv_kernel": uint32(4),
        "jamba.ssm.inner_size": uint32(128),
        "jamba.ssm.state_size": uint32(16),
    }
    layers = layers_of(model(extra, architecture="jamba"))
    assert layers == (
        LayerMemory(state_bytes=4 * (3 * 128 + 16 * 128)),
        LayerMemory(keys=32, values=32),
    )


def test_an_encoder_keeps_no_cache() -> None:
    assert cache_bytes(model(architecture="bert"), 4096) == 0


@pytest.mark.parametrize("dimensions", [{"heads": 0}, {"width": 0}, {"layers": 0}, {"layers": 513}])
def test_what_the_header_does_not_tell_is_not_guessed(dimensions: dict[str, int]) -> None:
    assert cache_bytes(model(**dimensions), 4096) is None
    assert cache_bytes(header(), 4096) is None


def test_running_takes_weights_cache_and_buffers() -> None:
    found = model()
    footprint = footprint_of(found)
    assert footprint is not None
    parts = (10**6, footprint.cache_bytes(1000), footprint.buffer_bytes(1000))
    assert running_bytes(found, 10**6, 1000) == sum(parts)
    assert all(parts)


def test_a_cache_grows_in_blocks_and_a_window_stops_it() -> None:
    footprint = Footprint((LayerMemory(keys=32, values=32, window=1000),), rows=10, width=8, inner=8)
    sizes = [footprint.cache_bytes(context) for context in (1, 256, 257, 2048, 100_000)]
    assert sizes == [64 * 2 * cells for cells in (256, 256, 512, 1536, 1536)]


def test_the_vocabulary_is_as_large_as_its_embedding(tmp_path: Path) -> None:
    footprint = footprint_of(read_header(build_tiny_gguf(tmp_path / "m.gguf", width=64, layers=1)))
    assert footprint is not None
    assert footprint.rows == 277
