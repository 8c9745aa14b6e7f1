"""Which layers of an architecture look back over a window only, where the file does not say it itself.

Source: src/models/*.cpp of llama.cpp (`load_swa_pattern`, `set_swa_pattern`), the version that is pinned.
"""

from __future__ import annotations

from typing import NamedTuple

from localllm.gguf_file import GGUFHeader
from localllm.memory.numbers import per_layer, whole


class WindowPattern(NamedTuple):
    """Of every `period` layers one attends to everything: the first with `dense_first`, else the last.

    With a period of 0 none does. `window` is what llama.cpp takes when the file names none; None means that
    such a file has no windows at all.
    """

    period: int
    dense_first: bool = False
    window: int | None = None


PATTERNS: dict[str, WindowPattern] = {
    "afmoe": WindowPattern(4),
    "cohere2": WindowPattern(4),
    "cohere2moe": WindowPattern(4, dense_first=True),
    "exaone-moe": WindowPattern(4, window=128),
    "gemma2": WindowPattern(2, window=4096),
    "gemma3": WindowPattern(6),
    "gemma3n": WindowPattern(5),
    "gpt-oss": WindowPattern(2),
    "laguna": WindowPattern(4, dense_first=True),
    "lfm2": WindowPattern(0),
    "lfm2moe": WindowPattern(0),
    "llama4": WindowPattern(4, window=8192),
    "mellum": WindowPattern(4),
    "muse-glimmer": WindowPattern(4),
    "olmo2": WindowPattern(4),
    "plamo3": WindowPattern(8),
    "smallthinker": WindowPattern(4, dense_first=True),
}
_PATTERN = "attention.sliding_window_pattern"
_EXAONE4_32B_LAYERS = 64  # of this family only the large one has windows


def windows_of(header: GGUFHeader, count: int) -> list[int | None]:
    """Return the window of each layer in tokens, None for those that attend to everything.

    A window is only used by the architectures above, and where the file says which layers have it.
    """
    stated = header.array(f"{header.architecture}.{_PATTERN}")
    pattern = _pattern(header.architecture, count)
    window = header.architecture_integer("attention.sliding_window")
    if window is None and pattern is not None:
        window = pattern.window
    if not window or window < 0:
        return [None] * count
    if stated is not None:
        flags = per_layer(header, _PATTERN, count) or [0] * count
        return [window if flag else None for flag in flags]
    if pattern is None:
        return [None] * count
    if header.architecture_integer(_PATTERN) is not None:
        pattern = pattern._replace(period=whole(header, _PATTERN))
    return [window if _is_windowed(index, pattern) else None for index in range(count)]


def _pattern(architecture: str, count: int) -> WindowPattern | None:
    if architecture == "exaone4" and count == _EXAONE4_32B_LAYERS:
        return WindowPattern(4, window=4096)
    return PATTERNS.get(architecture)


def _is_windowed(layer: int, pattern: WindowPattern) -> bool:
    """Tell whether a layer, counted from 0, looks back over a window only."""
    if pattern.period == 0:
        return True
    full = 0 if pattern.dense_first else pattern.period - 1
    return layer % pattern.period != full
