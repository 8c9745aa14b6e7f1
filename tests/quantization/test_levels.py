"""Levels as users type them, and what cannot be quantized."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.errors import QuantizationError, SameFileError, UnknownLevelError, UsageError
from localllm.quantization import GROUPS, LEVELS, parse_levels, quantize


def names(*texts: str) -> list[str]:
    return [level.name for level in parse_levels(texts)]


@pytest.mark.parametrize(
    ("typed", "levels"),
    [
        (("q4_k_m",), ["Q4_K_M"]),
        (("Q8_0, q2_k", "Q8_0"), ["Q8_0", "Q2_K"]),
        (("q4_k",), ["Q4_K_M"]),
        (("recommended", "q8_0"), list(GROUPS["RECOMMENDED"])),
        (("ALL",), list(GROUPS["ALL"])),
    ],
)
def test_levels_as_typed(typed: tuple[str, ...], levels: list[str]) -> None:
    assert names(*typed) == levels


@pytest.mark.parametrize(("typed", "hint"), [("Q4_K_X", "Q4_K_M"), ("al", "all"), ("zzz", "for example")])
def test_an_unknown_level_suggests(typed: str, hint: str) -> None:
    with pytest.raises(UnknownLevelError, match="is not a quantization level") as caught:
        parse_levels([typed])
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("typed", [[], [""], [" , "]])
def test_no_level_at_all(typed: list[str]) -> None:
    with pytest.raises(UsageError, match="no quantization level given"):
        parse_levels(typed)


def test_levels_that_need_a_matrix_are_refused_first() -> None:
    with pytest.raises(UsageError, match="IQ2_XXS needs an importance matrix"):
        parse_levels(["Q8_0", "IQ2_XXS"])


def test_bits_per_weight_of_the_blocks() -> None:
    assert {name: LEVELS[name].bits_per_weight for name in ("Q2_K", "Q4_K_M", "Q8_0", "BF16")} == {
        "Q2_K": 2.625,
        "Q4_K_M": 4.5,
        "Q8_0": 8.5,
        "BF16": 16.0,
    }


def test_quantizing_twice_is_refused(narrow_gguf: Path, tmp_path: Path) -> None:
    made = tmp_path / "x-Q8_0.gguf"
    quantize(narrow_gguf, [(LEVELS["Q8_0"], made)], threads=1)
    with pytest.raises(QuantizationError, match="is already quantized"):
        quantize(made, [(LEVELS["Q4_0"], tmp_path / "y.gguf")], threads=1)
    assert list(tmp_path.iterdir()) == [made]


@pytest.mark.parametrize("link", [False, True])
def test_the_source_is_never_overwritten(link: bool, narrow_gguf: Path, tmp_path: Path) -> None:
    target = tmp_path / "link.gguf" if link else narrow_gguf
    if link:
        target.symlink_to(narrow_gguf)
    before = narrow_gguf.read_bytes()
    with pytest.raises(SameFileError):
        quantize(narrow_gguf, [(LEVELS["Q8_0"], target)], threads=1)
    assert narrow_gguf.read_bytes() == before
