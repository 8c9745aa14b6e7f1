"""Streamed text is broken between words, whatever the pieces it arrives in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.cli.word_wrap import WordWrap


def wrapped(pieces: list[str], width: int) -> str:
    wrap = WordWrap(width)
    return "".join(map(wrap.feed, pieces)) + wrap.finish()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one two three", "one two\nthree"),
        ("one two\nthree", "one two\nthree"),
        ("  indented", "  indented"),
        ("exactly 10 next", "exactly 10\nnext"),
        ("a https://example.org/long b", "a\nhttps://example.org/long\nb"),
        ("\u4f60\u597d\u4e16\u754c\u4f60\u597d", "\u4f60\u597d\u4e16\u754c\u4f60\n\u597d"),
    ],
)
def test_words_stay_whole(text: str, shown: str) -> None:
    assert wrapped([text], 10) == shown


@given(text=st.text("ab \n\u4f60", max_size=60), width=st.integers(1, 12), data=st.data())
def test_only_spaces_become_line_breaks_and_pieces_do_not_matter(
    text: str, width: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(text)))
    whole = wrapped([text], width)
    assert wrapped([text[:cut], text[cut:]], width) == whole
    assert whole.replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(" ", "")


def test_a_long_word_is_not_held_back() -> None:
    assert WordWrap(80).feed("x" * 40) == "x" * 32


def test_code_in_fences_is_left_to_the_terminal() -> None:
    text = "one two three\n```python\na = one + two + three\n```\none two three"
    assert wrapped(list(text), 10) == "one two\nthree\n```python\na = one + two + three\n```\none two\nthree"


def test_a_tab_becomes_the_spaces_it_shows() -> None:
    assert wrapped(["\ta\tb"], 80) == "        a       b"


def test_the_width_may_change() -> None:
    wrap = WordWrap(20)
    shown = wrap.feed("one two three\n")
    wrap.width = 8
    assert shown + wrap.feed("one two three") + wrap.finish() == "one two three\none two\nthree"
