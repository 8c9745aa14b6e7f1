"""Texts beside each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from localllm.cli.side_by_side import side_by_side


def test_words_stay_whole_and_columns_straight() -> None:
    assert side_by_side(["one two three", "eins\n\nzwei drei vier"], 20) == [
        "one two    eins",
        "three",
        "           zwei drei",
        "           vier",
    ]


@given(st.lists(st.text(alphabet="ab 日\n`\t", max_size=60), min_size=1, max_size=4), st.integers(20, 60))
def test_nothing_is_wider_than_the_terminal_and_nothing_is_lost(texts: list[str], width: int) -> None:
    lines = side_by_side(texts, width)
    assert all(cell_len(line) <= width for line in lines)
    shown = sorted("".join("".join(lines).split()))
    assert shown == sorted("".join("".join(texts).split()))
