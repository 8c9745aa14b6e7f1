"""Quantized files are llama.cpp's own, byte for byte, at every level, and as large as was planned."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from localllm.conversion.convert import convert
from localllm.errors import QuantizationError
from localllm.gguf_file import read_header
from localllm.quantization.importance import provenance
from localllm.quantization.levels import LEVELS
from localllm.store import shipped_checkpoint
from tests.quantization.making import make, plan, some_matrix, written
from tests.quantization.oracle import FREE_LEVELS, MATRIX_LEVELS, llama_cpps_own
from tests.tiny_gguf import build_tiny_gguf, raw_tensor

SOURCES = ["64 wide", "demo"]


@pytest.fixture(scope="module", params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("source")
    if request.param == "demo":
        checkpoint = shipped_checkpoint("demo")
        assert checkpoint is not None
        return convert(checkpoint, output=directory / "demo-BF16.gguf").path
    return build_tiny_gguf(directory / "tiny-F32.gguf", width=64, layers=9)


def possible(source: Path, levels: tuple[str, ...]) -> list[str]:
    """Leave out the one level without a fallback where rows do not fit its block of 128."""
    columns = read_header(source).tensors[0].shape[0]
    return [name for name in levels if name != "Q1_0" or columns % 128 == 0]


def require_equal(made: Path, own: Path, planned_bytes: int) -> None:
    assert made.stat().st_size == planned_bytes
    assert made.read_bytes() == own.read_bytes(), made.name


def test_every_level_that_needs_no_matrix(source: Path, tmp_path: Path) -> None:
    levels = possible(source, FREE_LEVELS)
    planned = plan(source, levels, tmp_path)
    make(source, levels, tmp_path)
    for name, level in zip(levels, planned.levels, strict=True):
        llama_cpps_own(source, tmp_path / "own", LEVELS[name])
        require_equal(tmp_path / f"{name}.gguf", tmp_path / "own", level.size_bytes)


def test_every_level_with_a_matrix(source: Path, tmp_path: Path) -> None:
    entries = some_matrix(source)
    importances = written(entries, tmp_path / "matrix.dat")
    levels = possible(source, (*MATRIX_LEVELS, *FREE_LEVELS))
    planned = plan(source, levels, tmp_path, importances=importances)
    make(source, levels, tmp_path, importances=importances)
    for name, level in zip(levels, planned.levels, strict=True):
        origin = provenance(importances)
        llama_cpps_own(source, tmp_path / "own", LEVELS[name], matrix=entries, overrides=origin)
        require_equal(tmp_path / f"{name}.gguf", tmp_path / "own", level.size_bytes)


def test_a_level_without_fallback_is_refused(tmp_path: Path) -> None:
    narrow = build_tiny_gguf(tmp_path / "narrow.gguf", width=64, layers=1)
    with pytest.raises(QuantizationError, match="no tensor type fallback is defined for type q1_0"):
        plan(narrow, ["Q1_0"], tmp_path)


def test_fallbacks_are_counted_as_llama_cpp_counts_them(source: Path, tmp_path: Path) -> None:
    levels = ["Q2_K", "Q4_K_M", "Q8_0", "IQ4_XS"]
    for name, level in zip(levels, plan(source, levels, tmp_path).levels, strict=True):
        log = llama_cpps_own(source, tmp_path / "unused", LEVELS[name], dry_run=True)
        match = re.search(r"(\d+) of \d+ tensor\(s\) required fallback", log)
        assert level.fallbacks == (int(match[1]) if match else 0)


@pytest.mark.parametrize("threads", [1, 3])
def test_experts_have_their_own_importances(threads: int, tmp_path: Path) -> None:
    """Slices of a piece must not run over the border between two experts."""
    generator = np.random.default_rng(3)
    experts = raw_tensor(generator.standard_normal((5, 3, 256)).astype(np.float32))
    source = build_tiny_gguf(
        tmp_path / "experts.gguf", layers=1, tensors={"blk.0.ffn_up_exps.weight": experts}
    )
    entries = some_matrix(source)
    importances = written(entries, tmp_path / "matrix.dat")
    make(source, ["Q4_K_M", "IQ2_M"], tmp_path, importances=importances, threads=threads)
    for name in ("Q4_K_M", "IQ2_M"):
        own = tmp_path / "own"
        llama_cpps_own(source, own, LEVELS[name], matrix=entries, overrides=provenance(importances))
        assert (tmp_path / f"{name}.gguf").read_bytes() == own.read_bytes()


def test_a_stock_binding_loads_every_level(source: Path, tmp_path: Path) -> None:
    import ctypes

    from llama_cpp import Llama

    from localllm.native import logs
    from localllm.native.library import llama

    make(source, ["Q2_K", "Q4_K_M", "IQ4_NL"], tmp_path)
    for path in sorted(tmp_path.glob("*.gguf")):
        model = Llama(str(path), n_ctx=32, verbose=False)
        model.eval([1, 5, 6])
        model.close()
    llama().llama_log_set(logs.CALLBACK, ctypes.c_void_p(0))


def test_a_source_with_another_alignment_stays_loadable(tmp_path: Path) -> None:
    source = tmp_path / "aligned-F32.gguf"
    build_tiny_gguf(source, alignment=64)
    assert read_header(source).alignment == 64
    make(source, ["Q8_0"], tmp_path)
    assert read_header(tmp_path / "Q8_0.gguf").alignment == 32


def test_the_source_is_untouched(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    make(source, ["Q4_K_M"], tmp_path)
    assert source.read_bytes() == before
