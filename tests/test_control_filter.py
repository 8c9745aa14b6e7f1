"""Nothing that steers a terminal comes through, however it arrives; text does."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.control_filter import ControlFilter, clean

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
SEQUENCES = {
    "colour": "\x1b[31m",
    "clear screen": "\x1b[2J",
    "C1 CSI": "\x9b2J",
    "title (BEL)": "\x1b]0;pwned\x07",
    "title (ST)": "\x1b]0;pwned\x1b\\",
    "title (C1)": "\x9d0;pwned\x9c",
    "clipboard (OSC 52)": "\x1b]52;c;cHduZWQ=\x07",
    "hyperlink (OSC 8)": "\x1b]8;;http://evil.example/\x1b\\",
    "DCS": "\x1bP$qm\x1b\\",
    "C1 DCS": "\x90$qm\x9c",
    "APC": "\x1b_payload\x1b\\",
    "PM": "\x1b^payload\x1b\\",
    "SOS": "\x1bXpayload\x1b\\",
    "reset": "\x1bc",
    "character set": "\x1b(0",
    "double escape": "\x1b\x1b[2J",
    "bell": "\x07",
    "backspace": "\b\b",
    "carriage return": "\r",
    "delete": "\x7f",
    "bidi override": "\u202e",
}


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
def test_sequences_vanish_and_text_around_them_stays(sequence: str) -> None:
    assert clean(f"before {sequence}after") == "before after"


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
def test_sequences_cut_in_pieces_vanish(sequence: str) -> None:
    text = f"before {sequence}after"
    for cut in range(len(text) + 1):
        control = ControlFilter()
        assert control.feed(text[:cut]) + control.feed(text[cut:]) == "before after"


def test_text_of_all_kinds_stays() -> None:
    text = "Zeile 1\nSpalte\tä ß 漢字 עברית 🙂 e\u0301 [31m ]0;x"
    assert clean(text) == text


def test_a_line_end_ends_an_unfinished_sequence() -> None:
    assert clean("a\x1b[31\nb") == "a\nb"


HOSTILE = st.text(st.sampled_from("\x1b\x9b\x9d\x90\x9c\x07[]P_^X\\;0123mHJ \n\tab" + BIDI) | st.characters())


@given(HOSTILE)
def test_no_control_character_comes_out(text: str) -> None:
    for char in clean(text):
        assert char in "\n\t" or unicodedata.category(char) != "Cc"
        assert char not in BIDI


@given(HOSTILE)
def test_character_by_character_equals_at_once(text: str) -> None:
    control = ControlFilter()
    assert "".join(control.feed(char) for char in text) == clean(text)


@given(HOSTILE)
def test_what_is_clean_stays_as_it_is(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(HOSTILE)
def test_what_comes_out_was_there_in_that_order(text: str) -> None:
    remaining = iter(text)
    assert all(char in remaining for char in clean(text))
