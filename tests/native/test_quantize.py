"""Quantized files are llama.cpp's own, byte for byte, at every level; and what is said about them is true."""

from __future__ import annotations

import ctypes
import hashlib
import re
from pathlib import Path

import pytest

from localllm.gguf_file import read_header
from localllm.native import logs
from localllm.native.library import llama
from localllm.quantization import LEVELS, parse_levels, quantize
from tests.tiny_gguf import build_tiny_gguf

ALL = [level.name for level in parse_levels(["all"])]


def direct(source: Path, target: Path, file_type: int, *, dry_run: bool = False) -> str:
    """Call llama_model_quantize as a C program would and return its log."""
    library = llama()
    logs.clear()
    params = library.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.dry_run = file_type, 1, dry_run
    status = library.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    assert status == 0
    return "".join(line.text for line in logs.take())


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module", params=[256, 64], ids=["256 wide", "64 wide"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "tiny-F32.gguf"
    build_tiny_gguf(path, width=request.param)
    return path


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("made")
    targets = [(level, directory / f"{level.name}.gguf") for level in parse_levels(["all"])]
    quantize(source, targets)
    return {level.name: path for level, path in targets}


@pytest.mark.parametrize("level", ALL)
def test_bytes_are_llama_cpps(level: str, source: Path, made: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "direct.gguf"
    direct(source, target, LEVELS[level].file_type)
    assert digest(made[level]) == digest(target)


@pytest.mark.parametrize("level", ALL)
def test_a_stock_binding_loads_it(level: str, made: dict[str, Path]) -> None:
    from llama_cpp import Llama

    model = Llama(str(made[level]), n_ctx=32, verbose=False)
    model.eval([1, 5, 6])
    model.close()
    llama().llama_log_set(logs.CALLBACK, ctypes.c_void_p(0))


@pytest.mark.parametrize("level", ALL)
def test_fallbacks_are_counted_as_llama_cpp_counts_them(level: str, source: Path, tmp_path: Path) -> None:
    """llama.cpp says how many tensors fell back; its own count covers block sizes of their actual types."""
    log = direct(source, tmp_path / "unused.gguf", LEVELS[level].file_type, dry_run=True)
    match = re.search(r"(\d+) of \d+ tensor\(s\) required fallback", log)
    (result,) = quantize(source, [(LEVELS[level], tmp_path / "out.gguf")])
    assert result.fallbacks == (int(match[1]) if match else 0)


def test_a_source_with_another_alignment_stays_loadable(tmp_path: Path) -> None:
    source, target = tmp_path / "aligned-F32.gguf", tmp_path / "out.gguf"
    build_tiny_gguf(source, alignment=64)
    assert read_header(source).alignment == 64
    quantize(source, [(LEVELS["Q8_0"], target)])
    assert read_header(target).alignment == 32


def test_the_source_is_untouched(source: Path, tmp_path: Path) -> None:
    before = digest(source)
    quantize(source, [(LEVELS["Q4_K_M"], tmp_path / "out.gguf")])
    assert digest(source) == before
