"""Stop texts: found across pieces, never shown in part."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.engine.stopping import StopFilter


def filtered(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    stop_filter, shown = StopFilter(stops), ""
    for piece in pieces:
        shown += stop_filter.feed(piece)
        if stop_filter.stopped:
            return shown, True
    return shown + stop_filter.flush(), False


@pytest.mark.parametrize(
    ("text", "stops", "shown", "stopped"),
    [
        ("one STOP two", ["STOP"], "one ", True),
        ("one STO", ["STOP"], "one STO", False),
        ("aab", ["ab"], "a", True),
        ("abc", ["abcd", "c"], "ab", True),
        ("text", [], "text", False),
    ],
)
def test_stop_texts(text: str, stops: list[str], shown: str, stopped: bool) -> None:
    assert filtered(list(text), stops) == (shown, stopped)


@given(
    st.text("ab", max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=3),
    st.lists(st.integers(0, 12), max_size=4),
)
def test_the_pieces_do_not_matter(text: str, stops: list[str], cuts: list[int]) -> None:
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[start:end] for start, end in pairwise(edges)]
    shown, stopped = filtered(pieces, stops)
    assert (shown, stopped) == filtered(list(text), stops)
    assert stopped == any(stop in text for stop in stops)
    assert text.startswith(shown)
    assert not any(stop in shown for stop in stops)
