"""Personas: the user's own go before those that ship; files are bounded text."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm import personas
from localllm.errors import NotFoundError, UsageError


@pytest.fixture
def directory() -> Path:
    directory = personas.personas_directories()[0]
    directory.mkdir(parents=True)
    return directory


def test_three_ship() -> None:
    assert personas.names() == ["guide", "pirate", "terse"]
    assert all(personas.find_persona(name).startswith("You are ") for name in personas.names())


def test_ones_own_come_first(directory: Path, pinned_environment: Path) -> None:
    assert directory == pinned_environment / "localllm" / "personas"
    (directory / "terse.md").write_text("  Say yes or no.\n")
    (directory / "my editor.txt").write_text("You edit \u00e9.", encoding="utf-8")
    (directory / "notes.rst").write_text("no persona")
    assert personas.find_persona("terse") == "Say yes or no."
    assert personas.find_persona("my editor") == "You edit \u00e9."
    assert personas.names() == ["guide", "my editor", "pirate", "terse"]


@pytest.mark.skipif("not __import__('sys').platform.startswith('linux')", reason="the place on Linux")
def test_the_configuration_directory_counts_too(pinned_environment: Path) -> None:
    config = pinned_environment / ".config" / "localllm" / "personas"
    config.mkdir(parents=True)
    (config / "poet.md").write_text("You rhyme.")
    assert personas.find_persona("poet") == "You rhyme."


def test_near_names_are_offered() -> None:
    with pytest.raises(NotFoundError, match="no persona `Pirat`") as caught:
        personas.find_persona("Pirat")
    assert caught.value.hint == "did you mean `pirate`?"
    with pytest.raises(NotFoundError) as caught:
        personas.find_persona("zzzz")
    assert (caught.value.hint or "").startswith("there are `guide`, `pirate`, `terse`; add your own in ")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "x" * 81, "a\n"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a persona's name"):
        personas.find_persona(name)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"x" * 1_000_001, "longer than 1,000,000"),
    ],
)
def test_what_is_no_prompt_is_refused(content: bytes, problem: str, directory: Path) -> None:
    (directory / "mine.md").write_bytes(content)
    with pytest.raises(UsageError, match=problem):
        personas.find_persona("mine")


def test_a_system_prompt_is_a_text_a_file_or_a_persona(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_bytes(b"\xef\xbb\xbfBe kind.\r\n")
    assert personas.system_prompt(None, None) is None
    assert personas.system_prompt("Be brief", None) == "Be brief"
    assert personas.system_prompt(f"@{file}", None) == "Be kind."
    assert personas.system_prompt("@@home", None) == "@home"
    assert personas.system_prompt(None, "terse") == personas.find_persona("terse")
    with pytest.raises(UsageError, match="a persona is a system prompt"):
        personas.system_prompt("x", "terse")
    with pytest.raises(NotFoundError, match="no such file"):
        personas.system_prompt("@missing.txt", None)
    with pytest.raises(UsageError, match="is no file"):
        personas.system_prompt(f"@{tmp_path}", None)
    with pytest.raises(UsageError, match="no file name"):
        personas.system_prompt("@", None)
