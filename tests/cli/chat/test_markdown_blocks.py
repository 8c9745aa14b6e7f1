"""Finished blocks of growing Markdown stay as they are, whatever follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.cli.chat.markdown_blocks import finished_length

LINES = ["a\n", "\n", "```\n", "~~~\n", "- b\n", "1. c\n", "  d\n", "# e\n", "f", "    g\n"]
TEXTS = st.lists(st.sampled_from(LINES), max_size=14).map("".join)


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("one", ""),
        ("one\n\n", ""),
        ("one\n\ntwo", ""),  # the line may become a list item
        ("one\n\ntwo\n", "one\n\n"),
        ("one\n\n```\ncode\n\nmore\n", "one\n\n"),
        ("```\ncode\n\nmore\n```\n\nend\n", "```\ncode\n\nmore\n```\n\n"),
        ("- a\n\n- b\n\n  c\n", ""),
        ("- a\n\n- b\n\nend\n", "- a\n\n- b\n\n"),
        ("# one\n\n- a\n- b\n", "# one\n\n"),
        ("````\n```\n\nx\n````\n\nend\n", "````\n```\n\nx\n````\n\n"),
    ],
)
def test_whole_blocks_are_finished(text: str, finished: str) -> None:
    assert text[: finished_length(text)] == finished


@given(TEXTS, TEXTS)
def test_more_text_takes_nothing_back(text: str, more: str) -> None:
    assert finished_length(text) <= finished_length(text + more)
    assert text[: finished_length(text)] == (text + more)[: finished_length(text)]
