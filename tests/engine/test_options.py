"""Stop texts and sampling options, without a model."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.engine.options import SamplingOptions
from localllm.engine.stopping import StopFilter
from localllm.errors import UsageError


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


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 2.1},
        {"temperature": float("nan")},
        {"top_p": -0.1},
        {"max_tokens": 0},
        {"seed": -1},
        {"stop": ("",)},
        {"repeat_penalty": 0.0},
    ],
)
def test_options_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        SamplingOptions(**wrong)  # type: ignore[arg-type]


def test_defaults_fill_only_what_is_not_given() -> None:
    options = SamplingOptions(temperature=0.0).over({"temperature": 0.7, "top_p": 0.9})
    assert (options.temperature, options.top_p) == (0.0, 0.9)
