"""Quantized files are llama.cpp's own, byte for byte, at every level, and as large as was planned.

They are with the kernels of every instruction set of this processor, and without.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localllm.conversion.convert import convert
from localllm.errors import QuantizationError
from localllm.gguf_file import read_header
from localllm.quantization.importance import provenance
from localllm.quantization.levels import LEVELS
from localllm.store import shipped_checkpoint
from tests.kernels.comparison import instructions_here
from tests.quantization.making import make, plan, some_matrix, written
from tests.quantization.oracle import FREE_LEVELS, MATRIX_LEVELS, llama_cpps_own
from tests.tiny_gguf import RawTensor, build_tiny_gguf, raw_tensor

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


def make_with_all_kernels(
    source: Path, levels: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, **wishes: Any
) -> list[Path]:
    """Make the levels with each of the kernels; return the directories.

    Those of types that no kernels know, which take long, are made once.
    """
    made = [place / name for name in (*instructions_here()[::-1], "off")]
    for directory in made:
        directory.mkdir()
        monkeypatch.setenv("LOCALLLM_KERNELS", directory.name)
        known = [level for level in levels if not level.startswith("IQ")]
        make(source, levels if directory is made[0] else known, directory, **wishes)
    return made


def require_equal(made: list[Path], level: str, own: Path, planned_bytes: int) -> None:
    expected = own.read_bytes()
    assert len(expected) == planned_bytes
    assert (made[0] / f"{level}.gguf").is_file()
    for path in (directory / f"{level}.gguf" for directory in made):
        assert not path.exists() or path.read_bytes() == expected, path


def test_every_level_that_needs_no_matrix(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = possible(source, FREE_LEVELS)
    planned = plan(source, levels, tmp_path)
    made = make_with_all_kernels(source, levels, tmp_path, monkeypatch)
    for name, level in zip(levels, planned.levels, strict=True):
        llama_cpps_own(source, tmp_path / "own", LEVELS[name])
        require_equal(made, name, tmp_path / "own", level.size_bytes)


def test_every_level_with_a_matrix(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = some_matrix(source)
    importances = written(entries, tmp_path / "matrix.dat")
    levels = possible(source, (*MATRIX_LEVELS, *FREE_LEVELS))
    planned = plan(source, levels, tmp_path, importances=importances)
    made = make_with_all_kernels(source, levels, tmp_path, monkeypatch, importances=importances)
    for name, level in zip(levels, planned.levels, strict=True):
        origin = provenance(importances)
        llama_cpps_own(source, tmp_path / "own", LEVELS[name], matrix=entries, overrides=origin)
        require_equal(made, name, tmp_path / "own", level.size_bytes)


@pytest.mark.parametrize("kind", ["tied", "untied", "experts"])
def test_models_of_several_kinds(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the levels whose types the kernels know; as in a checkpoint, the weights are bfloat16."""
    generator = np.random.default_rng(11)
    tensors: dict[str, RawTensor | None] = {"output.weight": None} if kind == "tied" else {}
    if kind == "experts":
        for name in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"):
            weights = generator.standard_normal((3, 256, 256)).astype(np.float32)
            tensors[f"blk.0.{name}.weight"] = raw_tensor(weights, "BF16")
    source = build_tiny_gguf(tmp_path / f"{kind}.gguf", tensors=tensors)
    levels = ["Q2_K", "Q3_K_L", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"]
    planned = plan(source, levels, tmp_path)
    made = make_with_all_kernels(source, levels, tmp_path, monkeypatch)
    for name, level in zip(levels, planned.levels, strict=True):
        llama_cpps_own(source, tmp_path / "own", LEVELS[name])
        require_equal(made, name, tmp_path / "own", level.size_bytes)


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

    from localllm.native import logs
    from localllm.native.library import llama

    library = llama()
    from llama_cpp import Llama

    make(source, ["Q2_K", "Q4_K_M", "IQ4_NL"], tmp_path)
    for path in sorted(tmp_path.glob("*.gguf")):
        model = Llama(str(path), n_ctx=32, verbose=False)
        model.eval([1, 5, 6])
        model.close()
    library.llama_log_set(logs.CALLBACK, ctypes.c_void_p(0))


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
