"""Sizes, counts and durations as people write them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from localllm.units import format_bytes, format_count, format_seconds, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1536, "1.50 KiB"),
        (20 * 1024, "20.0 KiB"),
        (200 * 1024, "200 KiB"),
        (5 * 1024**3, "5.00 GiB"),
        (7000 * 1024**4, "7000 TiB"),
        (-2048, "-2.00 KiB"),
    ],
)
def test_bytes(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00K"), (12_345, "12.3K"), (1_040_000_000, "1.04B"), (10**15, "1000T")],
)
def test_counts(count: int, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (3.2, "3.2 s"),
        (60, "1 min 0 s"),
        (125, "2 min 5 s"),
        (119.7, "2 min 0 s"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@given(st.integers(0, 2**60))
def test_bytes_stay_short_and_close(size: int) -> None:
    text = format_bytes(size)
    number, unit = text.split(" ")
    factor = 1024 ** ("B", "KiB", "MiB", "GiB", "TiB").index(unit)
    assert abs(float(number) * factor - size) <= max(0.006 * size, 0.5)


@given(st.floats(0, 10**7))
@example(0.9999)
@example(59.96)
@example(119.99)
def test_seconds_never_show_sixty(seconds: float) -> None:
    assert not re.search(r"\b60(\.0)? s$|\b1000 ms$", format_seconds(seconds))


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("007", 7), ("4K", 4000), ("300m", 300_000_000), ("50G", 50 * 10**9)]
)
def test_sizes_are_parsed_in_powers_of_1000(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "0K", "K", "-1", "+1", "1.5G", "4T", "4GB", " 4", "4 G", "٣", "²", "1e3"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("30", 30), ("30s", 30), ("1.5m", 90), ("2H", 7200), ("1d", 86_400)]
)
def test_durations_are_parsed(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "5 m", "5ms", "1.2.3", ".", "٣s", "1e3", "nan", "inf"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_seconds(text)
