"""Bytes, parameter counts and durations as people write them (pure functions)."""

from __future__ import annotations

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_DECIMAL_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_DECIMAL = ("", "K", "M", "B", "T")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def format_bytes(size_bytes: float) -> str:
    """Format a byte count with binary prefixes: 1536 → "1.5 KiB"."""
    value = float(size_bytes)
    for unit in _BINARY[:-1]:
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{_three_digits(value)} {unit}"
        value /= 1024
    return f"{_three_digits(value)} {_BINARY[-1]}"


def format_count(count: float) -> str:
    """Format a parameter or token count with decimal prefixes: 1_040_000_000 → "1.04B"."""
    value = float(count)
    for prefix in _DECIMAL[:-1]:
        if abs(value) < 1000:
            return f"{value:.0f}" if not prefix else f"{_three_digits(value)}{prefix}"
        value /= 1000
    return f"{_three_digits(value)}{_DECIMAL[-1]}"


def parse_bytes(text: str) -> int:
    """Return how many bytes `N`, `NK`, `NM` or `NG` stands for, in powers of 1000: "4G" → 4_000_000_000.

    Raise ValueError for anything else, and for 0.
    """
    number, unit = (text[:-1], text[-1:].upper()) if text[-1:].isalpha() else (text, "")
    if unit not in _DECIMAL_BYTES or not (number.isascii() and number.isdigit()) or int(number) == 0:
        raise ValueError(f"{text!r} is no size")
    return int(number) * _DECIMAL_BYTES[unit]


def parse_seconds(text: str) -> float:
    """Return how many seconds `N`, `Ns`, `Nm`, `Nh` or `Nd` stands for: "1.5m" → 90.0.

    Raise ValueError for anything else.
    """
    number, unit = (text[:-1], text[-1:].lower()) if text[-1:].isalpha() else (text, "")
    if unit not in _SECONDS or not (number.isascii() and number.replace(".", "", 1).isdecimal()):
        raise ValueError(f"{text!r} is no duration")
    return float(number) * _SECONDS[unit]


def format_seconds(seconds: float) -> str:
    """Format a duration: 0.0123 → "12 ms", 3.2 → "3.2 s", 125 → "2 min 5 s"."""
    if seconds < 0.9995:  # what rounds to a second or a minute is written as one
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def _three_digits(value: float) -> str:
    """Format with three significant digits, without an exponent."""
    magnitude = abs(value)
    return f"{value:.2f}" if magnitude < 10 else f"{value:.1f}" if magnitude < 100 else f"{value:.0f}"
