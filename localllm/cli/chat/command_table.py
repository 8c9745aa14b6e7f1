"""All commands of the chat, and the one that explains them."""

from __future__ import annotations

from localllm.cli.chat.commands import Command, by_name, find_command
from localllm.cli.chat.session_commands import SESSION_COMMANDS
from localllm.cli.chat.setting_commands import SETTING_COMMANDS
from localllm.cli.chat.talk import Talk
from localllm.cli.chat.talk_commands import TALK_COMMANDS

_KEYS = (
    ("Enter", "sends; Alt-Enter begins a new line, pasted lines stay together"),
    ('"""', "begins a block of several lines, which ends with another"),
    ("Ctrl-C", "stops an answer and keeps what was said; clears the line; twice in an empty one leaves"),
    ("Ctrl-D, quit", "leave"),
    ("Up, Ctrl-R", "earlier messages, and a search among them"),
    ("Tab", "completes commands, models, sessions and files"),
    ("Ctrl-X Ctrl-E", "edits the message in $EDITOR"),
)


def show_help(talk: Talk, argument: str) -> None:
    """Explain all commands and keys, or one command."""
    if argument:
        command = find_command(argument.split()[0].lstrip("/"), COMMANDS)
        talk.screen.rows([(command.usage, command.help)])
        return
    talk.screen.rows([(command.usage, command.help) for command in COMMANDS.values()])
    talk.screen.line()
    talk.screen.rows(_KEYS)


def _complete_help(_talk: Talk, begun: str) -> list[str]:
    return [name for name in COMMANDS if name.startswith(begun)]


COMMANDS = by_name(
    [
        Command("help", "[COMMAND]", "explain the commands and keys", show_help, _complete_help),
        *SETTING_COMMANDS,
        *TALK_COMMANDS,
        *SESSION_COMMANDS,
    ]
)
