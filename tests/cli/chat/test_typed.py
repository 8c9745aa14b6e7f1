"""What was typed: blocks in triple quotes, commands, the words that leave."""

from __future__ import annotations

import pytest

from localllm.cli.chat.typed import command_in, is_open, is_quit, unquoted


@pytest.mark.parametrize(
    ("text", "opened"),
    [
        ('"""', True),
        ('"""one', True),
        ('"""one\ntwo', True),
        ('"""one\ntwo"""', False),
        ('"""one\ntwo"""  ', False),
        ('/system """one', True),
        ('/system """one"""', False),
        ('say """ in the middle', False),
        ("", False),
    ],
)
def test_a_block_stays_open_until_its_end(text: str, opened: bool) -> None:
    assert is_open(text) == opened


def test_quotes_are_taken_off() -> None:
    assert unquoted('"""\none\n  two\n"""') == "one\n  two"
    assert unquoted('"""one"""') == "one"
    assert unquoted('""""""') == ""
    assert unquoted(' "one" ') == ' "one" '


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/help", ("help", "")),
        ("/HELP  ", ("help", "")),
        ("/set top-p  0.5", ("set", "top-p  0.5")),
        ('/system """one\ntwo"""', ("system", '"""one\ntwo"""')),
        ("/etc/hosts", None),
        (" /help", None),
        ("/", None),
        ("/ help", None),
        ("Hello", None),
    ],
)
def test_commands_begin_with_a_slash(text: str, command: tuple[str, str] | None) -> None:
    assert command_in(text) == command


def test_the_words_that_leave() -> None:
    assert all(is_quit(text) for text in ("quit", " QUIT ", "/quit", "exit", "/exit"))
    assert not is_quit("quit smoking")
