"""Reasoning in front of an answer: found at its beginning only, the same however the text comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.reasoning import Part, ReasoningSplitter, opens_reasoning, split_reasoning

TAGS = ["<think>", "</think>", "<thinking>", "</thinking>", "[THINK]", "[/THINK]"]
OTHERS = ["<", "</", "think>", " ", "\n", "a", "b\n\n", "é"]
TAGGED = st.lists(st.sampled_from([*TAGS, *OTHERS]), max_size=12).map("".join)


def split(pieces: list[str], *, opened: bool = False) -> list[Part]:
    splitter = ReasoningSplitter(opened=opened)
    parts = [part for piece in pieces for part in splitter.feed(piece)] + splitter.finish()
    joined: list[Part] = []
    for part in parts:
        assert part.text
        if joined and joined[-1].is_reasoning == part.is_reasoning:
            joined[-1] = Part(joined[-1].text + part.text, part.is_reasoning)
        else:
            joined.append(part)
    return joined


@given(TAGGED, st.booleans())
def test_pieces_do_not_matter(text: str, opened: bool) -> None:
    assert split(list(text), opened=opened) == split([text], opened=opened)


@given(TAGGED, st.booleans(), st.data())
def test_any_pieces_do_not_matter(text: str, opened: bool, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(pieces, opened=opened) == split([text], opened=opened)


@pytest.mark.parametrize(
    ("text", "opened", "reasoning", "said"),
    [
        ("Hello", False, "", "Hello"),
        ("  Hello\n", False, "", "  Hello\n"),
        ("<think>\nHm.\n</think>\n\nYes", False, "Hm.", "Yes"),
        ("\n<think>Hm.</think>Yes", False, "Hm.", "Yes"),
        ("<think>\n\n</think>\n\nYes", False, "", "Yes"),
        ("Hm.\n</think>\n\nYes", True, "Hm.", "Yes"),
        ("<think>Hm.</think>Yes", True, "Hm.", "Yes"),  # the model opens it once more
        ("Hm.\n</think>\n\nYes", False, "Hm.", "Yes"),  # nobody knew that the template had opened it
        ("Hm. It goes on", True, "Hm. It goes on", ""),
        ("<think>cut o", False, "cut o", ""),
        ("<think>one</think>\n<think>two</think> Yes", False, "onetwo", "Yes"),
        (
            "Write <think> in front and </think> behind.",
            False,
            "",
            "Write <think> in front and </think> behind.",
        ),
        ("```\n<think>\nx\n</think>\n```", False, "", "```\n<think>\nx\n</think>\n```"),
        ("[THINK]Hm.[/THINK]Yes", False, "Hm.", "Yes"),
        ("<think>a </thinking> b</think>c", False, "a </thinking> b", "c"),
        ("<thin", False, "", "<thin"),
        ("", True, "", ""),
    ],
)
def test_whole_answers(text: str, opened: bool, reasoning: str, said: str) -> None:
    assert split_reasoning(text, opened=opened) == (reasoning, said)


def test_white_space_around_reasoning_is_dropped_as_it_streams() -> None:
    splitter = ReasoningSplitter()
    assert splitter.feed("<think>\n") == []
    assert splitter.feed("Hm") == [Part("Hm", is_reasoning=True)]
    assert splitter.feed(" \n") == []
    assert splitter.feed("so </thi") == [Part(" \nso", is_reasoning=True)]
    assert splitter.feed("nk>\n") == []
    assert splitter.feed("\nYes\n") == [Part("Yes\n")]


def test_a_prompt_opens_reasoning() -> None:
    assert opens_reasoning("<|im_start|>assistant\n<think>\n")
    assert not opens_reasoning("<|im_start|>assistant\n<think>\n\n</think>\n\n")
