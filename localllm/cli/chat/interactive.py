"""The conversation at a terminal: reads a message or a command, answers, until somebody leaves."""

from __future__ import annotations

from localllm.cli.chat.command_table import COMMANDS
from localllm.cli.chat.commands import find_command
from localllm.cli.chat.figures import size_in_words
from localllm.cli.chat.input_line import InputLine, Key
from localllm.cli.chat.interruption import ControlC, held_at_terminal
from localllm.cli.chat.talk import Talk
from localllm.cli.chat.talk_commands import ask, edit
from localllm.cli.chat.typed import command_in, is_quit, unquoted
from localllm.errors import LocalLLMError

_MARK = "> "
_EDIT_MARK = "edit> "


def interact(talk: Talk, line: InputLine) -> None:
    """Hold a conversation until `quit`, Ctrl-D, or Ctrl-C twice in an empty line."""
    greet(talk)
    was_interrupted = False
    with held_at_terminal():
        while True:
            draft, talk.draft = talk.draft, ""
            typed = line.read(_mark(talk), draft)
            if typed is Key.END or (isinstance(typed, str) and is_quit(typed)):
                return
            if isinstance(typed, Key):
                if typed is Key.INTERRUPT and was_interrupted:
                    return
                was_interrupted = typed is Key.INTERRUPT and not talk.is_editing
                if was_interrupted:
                    talk.screen.status("Ctrl-C again, Ctrl-D or `quit` leaves")
                talk.is_editing = False
                continue
            was_interrupted = False
            if typed.strip():
                take(talk, typed)


def greet(talk: Talk) -> None:
    """Say who talks, what is remembered, and how to leave."""
    chat, screen = talk.chat, talk.screen
    name = chat.engine.name if chat.engine.name == chat.model else f"{chat.engine.name} ({chat.model})"
    screen.status(f"{name}, {size_in_words(chat.engine)}")
    if chat.resumed:
        screen.status(f"resuming a conversation of {chat.resumed} messages, `{chat.name}`")
    elif not chat.is_saved:
        screen.status("this conversation is not saved")
    if not chat.engine.has_template:
        screen.note("this model has no chat template: it continues your text instead of answering")
    screen.status("`/help` lists the commands; `quit` or Ctrl-D ends the chat")


def take(talk: Talk, typed: str) -> None:
    """Answer a message or do what a command says; what goes wrong is told, and the chat goes on."""
    is_edit, talk.is_editing = talk.is_editing, False
    try:
        command = None if is_edit else command_in(typed)
        if command is not None:
            find_command(command[0], COMMANDS).run(talk, command[1])
            return
        message = unquoted(typed)
        if is_edit:
            edit(talk, message)
            return
        ask(talk, message)
    except ControlC:
        talk.screen.status("stopped")
    except LocalLLMError as error:
        talk.screen.error(error)


def _mark(talk: Talk) -> str:
    if talk.is_editing:
        return _EDIT_MARK
    count = len(talk.attachments)
    return f"[{count} file{'s' if count > 1 else ''}] {_MARK}" if count else _MARK
