"""Names of sessions: what can be one, where it leads, and what those without one are called."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.errors import UsageError
from localllm.sessions import automatic_name, first_words, session_name, session_path, sessions_directory

TIME = datetime(2026, 11, 25, 14, 3)


def test_a_name_lies_in_the_home(pinned_environment: Path) -> None:
    assert session_path("my talk-1.2") == sessions_directory() / "my talk-1.2.json"
    assert pinned_environment in sessions_directory().parents
    assert session_name(session_path("my talk-1.2")) == "my talk-1.2"


def test_a_path_is_a_path() -> None:
    assert session_path("./x/talk.json") == Path("x/talk.json")
    assert session_name(Path("/x/talk.json")) == "/x/talk.json"


@pytest.mark.parametrize(
    "name",
    ["", ".hidden", "-x", "a\nb", "a\n", "x" * 161, "a:b", "caf\udcff", "x.", "x ", "con", "NUL.x", "é" * 81],
)
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a session's name"):
        session_path(name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What is the capital of France?", "capital of france"),
        ("hello", "hello"),
        ("Please explain Q4_K_M, briefly.", "q4_k_m briefly"),
        ("  Café\n\tau lait… ", "café au lait"),
        ("What's up?", "up"),
        ("write " * 50, "write write write write write write"),
        ("x" * 300, "x" * 40),
        ("日本語を話せますか", "日本語を話せますか"),
        ("../../etc/passwd", "etc passwd"),
        ("???", ""),
        ("", ""),
    ],
)
def test_a_session_is_called_after_the_time_and_what_is_said(text: str, words: str) -> None:
    assert automatic_name(text, TIME) == f"2026-11-25 14.03 {words}".strip()


@given(st.text(max_size=200))
def test_whatever_is_said_makes_a_possible_name(text: str) -> None:
    name = automatic_name(text, TIME)
    assert session_path(name).name == f"{name}.json"
    assert session_path(f"{name} 9999")


def test_first_words_stand_on_one_line() -> None:
    assert first_words("a\n\n b\tc") == "a b c"
    assert first_words("word " * 100, 20) == "word word word word…"
