"""Completes commands and what belongs behind them: options, sessions, models, files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from localllm.cli.chat.command_table import COMMANDS
from localllm.cli.chat.talk import Talk
from localllm.control_filter import clean
from localllm.errors import LocalLLMError

_MOST_PATHS = 10_000


class ChatCompleter(Completer):
    """Offers what can follow a slash; messages are left alone."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return []
        name, space, argument = text[1:].partition(" ")
        if not space:
            return _names(name)
        return self._arguments(name.lower(), argument.lstrip())

    def _arguments(self, name: str, begun: str) -> Iterator[Completion]:
        command = COMMANDS.get(name)
        if command is None:
            return
        is_file = command.takes_path or (name == "system" and begun.startswith("@"))
        if is_file:
            yield from _paths(begun.removeprefix("@"))
        elif command.complete is not None:
            try:
                found = list(command.complete(self._talk, begun))
            except (LocalLLMError, OSError):  # nothing that could be offered
                return
            for text in found:
                yield Completion(clean(text), start_position=-len(begun))


def _names(begun: str) -> Iterator[Completion]:
    for name, command in COMMANDS.items():
        if name.startswith(begun.lower()):
            text = f"{name} " if command.argument else name
            yield Completion(text, -len(begun), display=command.usage, display_meta=command.help)


def _paths(begun: str) -> Iterator[Completion]:
    """Complete a path by its last part; directories end in a slash, hidden files come when asked for."""
    head, slash, tail = begun.rpartition("/")
    try:
        found = sorted(Path(f"{head}{slash}" or ".").expanduser().iterdir())
    except (OSError, RuntimeError):  # no such directory, no such home
        return
    for path in found[:_MOST_PATHS]:
        if path.name.startswith(tail) and (tail or not path.name.startswith(".")):
            yield Completion(clean(path.name) + ("/" if path.is_dir() else ""), -len(tail))
