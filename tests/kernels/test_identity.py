"""The kernels make ggml's bytes; scripts/check_kernels.py shows it on a hundred times as many weights."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.kernels import LIBRARY
from localllm.native.kernels import INSTRUCTIONS, TYPES, Kernels, open_library
from localllm.native.library import ggml
from tests.kernels.comparison import compare, instructions_here
from tests.kernels.patterns import FINITE, PATTERNS

pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="the kernels are not built")


@pytest.fixture(scope="module")
def found() -> list[Kernels]:
    library = open_library(LIBRARY)
    return [Kernels(name, None, library.localllm_encode) for name in instructions_here()]


def test_there_are_enough_patterns() -> None:
    assert len(FINITE) == 108
    assert len(PATTERNS) == 111


@pytest.mark.parametrize("with_importance", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_every_pattern(kind: str, with_importance: bool, found: list[Kernels]) -> None:
    """Rows of seven super-blocks: groups run over their ends, and some are left over."""
    for number, pattern in enumerate(PATTERNS):
        random = np.random.default_rng((7, number))
        differences = compare(kind, found, pattern, random, (3, 1792), with_importance=with_importance)
        assert len(differences) == len(found)
        assert [each for each in differences if each.differing] == []


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 33])
def test_any_number_of_super_blocks(rows: int, found: list[Kernels]) -> None:
    for kind in TYPES:
        for with_importance in (False, True):
            random = np.random.default_rng(rows)
            differences = compare(
                kind, found, "gaussian × 1", random, (rows, 256), with_importance=with_importance
            )
            assert [each for each in differences if each.differing] == []


def test_nothing_is_written_beside_the_rows(found: list[Kernels]) -> None:
    for kind in map(TENSOR_TYPES_BY_NAME.__getitem__, TYPES):
        rows = np.random.default_rng(1).standard_normal((5, 768), dtype=np.float32)
        place = np.full(5 * kind.row_bytes(768) + 128, 0xA5, dtype=np.uint8)
        for kernels in found:
            assert kernels.encode_rows(rows, kind, place[64:-64].reshape(5, -1), None)
            assert set(place[:64].tolist() + place[-64:].tolist()) == {0xA5}


def test_what_is_not_known_is_refused(found: list[Kernels]) -> None:
    encode = open_library(LIBRARY).localllm_encode
    fallback = ctypes.cast(ggml().quantize_q4_K, ctypes.c_void_p)
    rows, place = np.zeros((1, 256), np.float32), np.zeros(1000, np.uint8)
    addresses = (rows.ctypes.data, place.ctypes.data)
    q4_k, q4_0 = TENSOR_TYPES_BY_NAME["Q4_K"].id, TENSOR_TYPES_BY_NAME["Q4_0"].id
    best = max(INSTRUCTIONS[kernels.name] for kernels in found)
    for lanes, kind, columns in ((best, q4_0, 256), (best, q4_k, 128), (best, q4_k, 0), (9, q4_k, 256)):
        assert not encode(lanes, kind, *addresses, 1, columns, None, fallback)
    assert encode(best, q4_k, *addresses, 1, 256, None, fallback)
    assert encode(best, q4_k, *addresses, 0, 256, None, fallback)


def test_importances_that_are_not_finite_are_ggmls_own_affair(found: list[Kernels]) -> None:
    rows, kind = np.ones((1, 256), np.float32), TENSOR_TYPES_BY_NAME["Q4_K"]
    target = np.zeros((1, kind.row_bytes(256)), np.uint8)
    importance = np.full(256, np.nan, np.float32)
    assert not any(kernels.encode_rows(rows, kind, target, importance) for kernels in found)
