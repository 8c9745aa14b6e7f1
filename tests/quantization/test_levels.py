"""Levels as users type them."""

from __future__ import annotations

import pytest

from localllm.errors import UnknownLevelError, UsageError
from localllm.quantization.levels import GROUPS, LEVELS, parse_levels


def names(*texts: str) -> list[str]:
    return [level.name for level in parse_levels(texts)]


@pytest.mark.parametrize(
    ("typed", "levels"),
    [
        (("q4_k_m",), ["Q4_K_M"]),
        (("Q8_0, q2_k", "Q8_0"), ["Q8_0", "Q2_K"]),
        (("q4_k",), ["Q4_K_M"]),
        (("mxfp4",), ["MXFP4_MOE"]),
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


def test_bits_per_weight_of_the_blocks() -> None:
    assert {name: LEVELS[name].bits_per_weight for name in ("Q2_K", "Q4_K_M", "Q8_0", "BF16")} == {
        "Q2_K": 2.625,
        "Q4_K_M": 4.5,
        "Q8_0": 8.5,
        "BF16": 16.0,
    }
