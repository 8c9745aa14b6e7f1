"""What is said about a plan before anything is written: whether a level fits, and which one to take."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.errors import StorageError, UsageError
from localllm.gguf_file import read_header
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import array
from localllm.memory import cache_bytes, running_bytes
from localllm.native.library import Device
from localllm.publication import free_bytes
from localllm.quantization import quantize as module
from localllm.quantization.advice import Resources, advise, fit, resources
from localllm.quantization.plan import LevelPlan
from localllm.quantization.working_set import piece_weights
from tests.quantization.making import make, plan
from tests.tiny_gguf import build_tiny_gguf

LEVELS = ["Q2_K", "Q4_K_M", "Q8_0"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_gguf(tmp_path_factory.mktemp("source") / "tiny-F32.gguf")


@pytest.fixture(scope="module")
def levels(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LevelPlan, ...]:
    return plan(source, LEVELS, tmp_path_factory.mktemp("out")).levels


def advised(levels: tuple[LevelPlan, ...], source: Path, found: Resources) -> str | None:
    fits = [fit(level, read_header(source), found, 64) for level in levels]
    chosen = advise(levels, fits)
    return None if chosen is None else levels[chosen].level.name


def needs(level: LevelPlan, source: Path) -> int:
    return running_bytes(read_header(source), level.tensor_bytes, 64)


def test_the_largest_that_fits_is_advised(levels: tuple[LevelPlan, ...], source: Path) -> None:
    assert advised(levels, source, Resources(10**12, None, None)) == "Q8_0"
    between = int((needs(levels[1], source) + needs(levels[2], source)) / 2 / 0.9)
    assert advised(levels, source, Resources(between, None, None)) == "Q4_K_M"
    assert advised(levels, source, Resources(1, None, None)) is None


def test_a_gpu_comes_before_memory(levels: tuple[LevelPlan, ...], source: Path) -> None:
    just = needs(levels[0], source) + 512 * 1024 * 1024
    assert advised(levels, source, Resources(10**12, just, "a GPU")) == "Q2_K"
    assert advised(levels, source, Resources(10**12, 1, "a GPU")) == "Q8_0", "none fits there"


def test_the_gpu_with_the_most_free_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [
        Device("CPU", "a processor", 90, 100, is_gpu=False),
        Device("CUDA0", "", 10, 100, is_gpu=True),
        Device("CUDA1", "the large one", 20, 100, is_gpu=True),
    ]
    assert (resources(devices).gpu_bytes, resources(devices).gpu) == (20, "the large one")
    assert (resources(devices[:1]).gpu_bytes, resources(devices[:1]).gpu) == (None, None)


def test_cache_of_layers_that_differ(tmp_path: Path) -> None:
    uneven = build_tiny_gguf(
        tmp_path / "x.gguf",
        layers=3,
        overrides={"llama.attention.head_count_kv": array(ValueType.UINT32, [2, 0, 1])},
    )
    cells = 256  # a cache is a multiple of so many tokens
    assert cache_bytes(read_header(uneven), 100) == cells * 2 * (64 + 64) * 3


def test_what_the_disk_cannot_hold_is_refused_before_writing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the two fits, both together do not."""
    planned = plan(source, ["Q4_0", "Q8_0"], tmp_path / "new")
    total = sum(level.size_bytes for level in planned.levels)
    monkeypatch.setattr("localllm.publication.free_bytes", lambda path: total - 1)
    with pytest.raises(StorageError, match="and 1 more need"):
        module.quantize(planned)
    assert not (tmp_path / "new").exists()
    assert free_bytes(tmp_path) > 0


def test_pieces_shrink_to_the_memory_given(levels: tuple[LevelPlan, ...]) -> None:
    assert piece_weights(levels, 2, None) == piece_weights(levels, 2, 10**11) == 1024 * 1024
    small = piece_weights(levels, 2, 260_000_000)
    assert 32 * 1024 <= small < 1024 * 1024
    with pytest.raises(UsageError, match="too little to quantize in"):
        piece_weights(levels, 2, 200_000_000)


def test_small_pieces_make_the_same_file(source: Path, tmp_path: Path) -> None:
    (whole,) = make(source, ["Q4_K_M"], tmp_path)
    (tmp_path / "small").mkdir()
    planned = plan(source, ["Q4_K_M"], tmp_path / "small")
    (small,) = module.quantize(planned, max_memory_bytes=230_000_000)
    assert whole.path.read_bytes() == small.path.read_bytes()
